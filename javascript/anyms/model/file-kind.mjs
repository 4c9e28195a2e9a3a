// What a file is, by its bytes: names and types of files come from outside and are often wrong.

/** @type {readonly [string, number, string][]} media type, place and text of the bytes that tell it */
const MARKS = [
  ["image/png", 0, "\x89PNG\r\n\x1a\n"],
  ["image/jpeg", 0, "\xff\xd8\xff"],
  ["image/webp", 8, "WEBP"],
  ["image/gif", 0, "GIF8"],
  ["image/bmp", 0, "BM"],
  ["image/avif", 4, "ftypavi"],
  ["image/heic", 4, "ftyphe"],
  ["image/heic", 4, "ftypmif1"],
  ["image/tiff", 0, "II*\0"],
  ["image/tiff", 0, "MM\0*"],
];
const ENOUGH = 64; // bytes

export const JSON_TYPE = "application/json";

/** The media type of a picture or of JSON; "" for anything else. @type {(bytes: Uint8Array) => string} */
export function kindOf(bytes) {
  const start = String.fromCharCode(...bytes.subarray(0, ENOUGH));
  const mark = MARKS.find(([, place, text]) => start.startsWith(text, place));
  if (mark) return mark[0];
  const words = start.replace(/^\xef\xbb\xbf|^\xff\xfe|^\xfe\xff/, "").replaceAll("\0", "");
  return /^\s*[{[]/.test(words) ? JSON_TYPE : "";
}

// One row of pixels in known colours. Browsers that hide a computer's traits return other colours from a canvas.
export const KNOWN_ROW = ["#000000", "#ff0000", "#00ff00", "#0000ff", "#ffffff", "#204080", "#c0a010", "#7f7f7f"];
const TOLERANCE = 8; // levels; some browsers change the last bits only, which no encoder notices

/** Whether a canvas returned other colours than KNOWN_ROW. @type {(pixels: ArrayLike<number>) => boolean} */
export function isFalsified(pixels) {
  return KNOWN_ROW.some((colour, n) => {
    const levels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return levels.some((level, channel) => Math.abs(level - pixels[4 * n + channel]) > TOLERANCE);
  });
}

/**
 * Makes a mask's pixels white and opaque where it shows a subject: by its opacity if a pixel is transparent, else by
 * its brightness.
 * @type {(pixels: Uint8ClampedArray) => void} pixels: RGBA
 */
export function asOpacity(pixels) {
  let opaque = true;
  for (let n = 3; n < pixels.length; n += 4) opaque &&= pixels[n] === 255;
  for (let n = 0; n < pixels.length; n += 4) {
    const bright = Math.round(0.299 * pixels[n] + 0.587 * pixels[n + 1] + 0.114 * pixels[n + 2]);
    const alpha = opaque ? bright : pixels[n + 3];
    pixels.set([255, 255, 255, alpha], n);
  }
}
