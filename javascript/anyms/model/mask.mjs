// What of a picture is the subject: a part of it, without what is erased. No page here.

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./pictures.mjs").Pictures} Pictures */
/** @typedef {readonly [number, number, number, number, number, number, number, number]} Drawing what drawImage takes: from, to */

export const FITS = ["pad", "crop", "stretch"]; // as lib_anyms/ip_adapter/references.py

/** A card's thumbnail stands for tokens: there is nothing to cut. @type {(address: string) => boolean} */
export const isCard = (address) => /^data:image\/[a-z]+;card=/.test(address);

/**
 * The box in whole pixels, at least one a side, as lib_anyms/ip_adapter/cutting.py cuts.
 * @type {(box: Box, size: Size) => {left: number, top: number, width: number, height: number}}
 */
export function pixelsOf(box, size) {
  const [left, right] = span(box[0], box[2], size.width);
  const [top, bottom] = span(box[1], box[3], size.height);
  return { left, top, width: right - left, height: bottom - top };
}

/** @type {(low: number, high: number, side: number) => [number, number]} */
function span(low, high, side) {
  const first = Math.min(Math.floor(low * side), side - 1);
  return [first, Math.max(Math.floor(high * side + 0.5), first + 1)];
}

/**
 * How a picture comes into the encoder's square of `side` pixels.
 * @type {(size: Size, fit: string, side: number) => Drawing}
 */
export function placedBy({ width, height }, fit, side) {
  if (fit === "crop") {
    const shorter = Math.min(width, height);
    return [(width - shorter) / 2, (height - shorter) / 2, shorter, shorter, 0, 0, side, side];
  }
  if (fit === "stretch") return [0, 0, width, height, 0, 0, side, side];
  const [wide, high] = [width, height].map((part) => Math.max(1, Math.round((side * part) / Math.max(width, height))));
  return [0, 0, width, height, (side - wide) / 2, (side - high) / 2, wide, high];
}

/**
 * A mask's pixels become white paint over what is not the subject. One with transparency is read by that, any other by its brightness.
 * @param {Uint8ClampedArray} pixels red, green, blue, opacity of each
 */
export function toPaint(pixels) {
  let transparent = false;
  for (let at = 3; at < pixels.length && !transparent; at += 4) transparent = pixels[at] < 255;
  for (let at = 0; at < pixels.length; at += 4) {
    const bright = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
    pixels[at + 3] = 255 - (transparent ? pixels[at + 3] : bright);
    pixels.fill(255, at, at + 3);
  }
}

/** `to` in the place of `from`, none of them twice. @type {(pictures: Pictures, from: string, to: string) => Pictures} */
export const swapped = (pictures, from, to) => [...new Set(pictures.map((each) => (each === from ? to : each)))];
