// What a hires fix to another aspect leaves of the picture that is drawn on, as lib_anyms/hosts/viewport.py. No page here.

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */

const CELL = 8; // pixels a latent cell

/**
 * The first pass is enlarged to cover `to`, then cut at both ends; null where nothing is.
 * @param {Size} size of the first pass
 * @param {Size} to of the second one; a side that is 0 keeps the aspect
 * @returns {Box | null}
 */
export function leftBy(size, to) {
  if (!(to.width > 0 && to.height > 0 && size.width > 0 && size.height > 0)) return null;
  const wider = size.width / size.height < to.width / to.height;
  const width = wider ? to.width : Math.floor((to.height * size.width) / size.height);
  const height = wider ? Math.floor((to.width * size.height) / size.width) : to.height;
  const [x0, x1] = cut(width, to.width);
  const [y0, y1] = cut(height, to.height);
  return x0 > 0 || y0 > 0 || x1 < 1 || y1 < 1 ? [x0, y0, x1, y1] : null;
}

/** @type {(pixels: number, kept: number) => [number, number]} */
function cut(pixels, kept) {
  const side = Math.floor(pixels / CELL);
  const cells = Math.max(0, Math.floor((pixels - kept) / CELL));
  return [Math.floor(cells / 2) / side, (side - Math.floor((cells + 1) / 2)) / side];
}
