// The part of the canvas that a hires fix of another aspect keeps, as lib_anyms/hosts/viewport.py computes it.

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */

const CELL = 8; // pixels per latent cell

/**
 * The host enlarges the first pass to cover `to`, then crops both ends. Returns null where it crops nothing.
 * @param {Size} size of the first pass
 * @param {Size} to size of the second pass; a side of 0 keeps the aspect
 * @returns {Box | null}
 */
export function keptByHires(size, to) {
  if (!(to.width > 0 && to.height > 0 && size.width > 0 && size.height > 0)) return null;
  const wider = size.width / size.height < to.width / to.height;
  const width = wider ? to.width : Math.floor((to.height * size.width) / size.height);
  const height = wider ? Math.floor((to.width * size.height) / size.width) : to.height;
  const [x0, x1] = keptSpan(width, to.width);
  const [y0, y1] = keptSpan(height, to.height);
  const crops = x0 > 0 || y0 > 0 || x1 < 1 || y1 < 1;
  return crops ? [x0, y0, x1, y1] : null;
}

/** An odd number of cells loses one more at its end. @type {(pixels: number, kept: number) => [number, number]} */
function keptSpan(pixels, kept) {
  const side = Math.floor(pixels / CELL);
  const cells = Math.max(0, Math.floor((pixels - kept) / CELL));
  return [Math.floor(cells / 2) / side, (side - Math.floor((cells + 1) / 2)) / side];
}
