// Crop and mask of a reference picture: the crop box in pixels, the encoder's square, and mask pixels.

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./pictures.mjs").Pictures} Pictures */
/**
 * @typedef {readonly [number, number, number, number, number, number, number, number]} Drawing arguments of drawImage:
 * source rectangle, target rectangle
 */

export const FITS = ["pad", "crop", "stretch"]; // as lib_anyms/ip_adapter/references.py

/** A card's thumbnail stands for stored tokens, so it cannot be cropped. @type {(address: string) => boolean} */
export const isCard = (address) => /^data:image\/[a-z]+;card=/.test(address);

/**
 * The box in whole pixels, at least one per side, as lib_anyms/ip_adapter/cutting.py crops.
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
 * Where drawImage puts a picture in the encoder's square of `side` pixels.
 * @type {(size: Size, fit: string, side: number) => Drawing}
 */
export function placedBy({ width, height }, fit, side) {
  if (fit === "crop") {
    const shorter = Math.min(width, height);
    return [(width - shorter) / 2, (height - shorter) / 2, shorter, shorter, 0, 0, side, side];
  }
  if (fit === "stretch") return [0, 0, width, height, 0, 0, side, side];
  const longer = Math.max(width, height);
  const padded = (/** @type {number} */ part) => Math.max(1, Math.round((side * part) / longer));
  const [targetWidth, targetHeight] = [padded(width), padded(height)];
  const [left, top] = [(side - targetWidth) / 2, (side - targetHeight) / 2];
  return [0, 0, width, height, left, top, targetWidth, targetHeight];
}

/**
 * Turns a mask's pixels, in place, into white paint over everything but the subject. A mask with transparency is read
 * by its opacity, any other mask by its brightness.
 * @param {Uint8ClampedArray} pixels RGBA
 */
export function toPaint(pixels) {
  const transparent = hasTransparency(pixels);
  for (let at = 0; at < pixels.length; at += 4) {
    const brightness = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
    pixels[at + 3] = 255 - (transparent ? pixels[at + 3] : brightness);
    pixels.fill(255, at, at + 3);
  }
}

/**
 * What paint of `toPaint` erases. The API says the same of a mask: lib_anyms/ip_adapter/cutting.py.
 * @type {(pixels: Uint8ClampedArray) => "all" | "nothing" | "part"}
 */
export function erased(pixels) {
  let [least, most] = [255, 0];
  for (let at = 3; at < pixels.length; at += 4) {
    least = Math.min(least, pixels[at]);
    most = Math.max(most, pixels[at]);
  }
  if (least === 255) return "all";
  return most === 0 ? "nothing" : "part";
}

/** @type {(pixels: Uint8ClampedArray) => boolean} */
function hasTransparency(pixels) {
  for (let at = 3; at < pixels.length; at += 4) {
    if (pixels[at] < 255) return true;
  }
  return false;
}

/**
 * `pictures` with `to` in place of `from`, without duplicates.
 * @type {(pictures: Pictures, from: string, to: string) => Pictures}
 */
export function replaced(pictures, from, to) {
  const addresses = pictures.map((address) => (address === from ? to : address));
  return [...new Set(addresses)];
}
