// The reference pictures of a slot: read from and written to one text field, added, removed and reordered.

/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {readonly string[]} Pictures data: URLs; the editor shows the first one in the box */

export const MAX_PICTURES = 8; // per subject, as in lib_anyms/job/request.py
export const LARGEST = 1024; // pixels per side: no encoder uses more

/** Pictures in a slot's field; none if the text is invalid. @type {(text: string) => Pictures} */
export function readPictures(text) {
  if (!text) return [];
  try {
    const value = JSON.parse(text);
    if (!Array.isArray(value)) return [];
    return value.filter((item) => typeof item === "string").map(asAddress);
  } catch {
    return [];
  }
}

/** The API also accepts plain base64. @type {(text: string) => string} */
const asAddress = (text) => (text.startsWith("data:") ? text : `data:;base64,${text}`);

/** @type {(pictures: Pictures) => string} */
export const writePictures = (pictures) => (pictures.length ? JSON.stringify(pictures) : "");

/**
 * `more` added after `pictures`, without duplicates. `rejected` counts the pictures beyond MAX_PICTURES.
 * @type {(pictures: Pictures, more: Pictures) => {pictures: Pictures, rejected: number}}
 */
export function joined(pictures, more) {
  const all = [...new Set([...pictures, ...more])];
  return { pictures: all.slice(0, MAX_PICTURES), rejected: Math.max(0, all.length - MAX_PICTURES) };
}

/** @type {(pictures: Pictures, n: number) => Pictures} */
export const without = (pictures, n) => pictures.filter((_, index) => index !== n);

/** Picture `n` moved one place forward. @type {(pictures: Pictures, n: number) => Pictures} */
export function advanced(pictures, n) {
  if (n < 1 || n >= pictures.length) return pictures;
  const moved = [...pictures];
  [moved[n - 1], moved[n]] = [moved[n], moved[n - 1]];
  return moved;
}

/** The size in which a picture is sent: at most LARGEST per side, with the same aspect. @type {(size: Size) => Size} */
export function shrunk({ width, height }) {
  const factor = Math.min(1, LARGEST / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}
