// A slot's reference pictures as one text, and what can be done with them. No page here.

/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {readonly string[]} Pictures data: addresses; the first one is the subject's face in the editor */

export const MOST = 8; // of one subject, as lib_anyms/job/request.py takes
export const LARGEST = 1024; // pixels of a side: no encoder sees more of a picture

/** What a slot's field holds; one that is none holds nothing. @type {(text: string) => Pictures} */
export function readPictures(text) {
  if (!text) return [];
  try {
    const given = JSON.parse(text);
    return Array.isArray(given) ? given.filter((each) => typeof each === "string").map(asAddress) : [];
  } catch {
    return [];
  }
}

/** Plain base64 as an address. @type {(given: string) => string} */
const asAddress = (given) => (given.startsWith("data:") ? given : `data:;base64,${given}`);

/** @type {(pictures: Pictures) => string} */
export const writePictures = (pictures) => (pictures.length ? JSON.stringify(pictures) : "");

/**
 * `more` behind `pictures`, none of them twice; how many did not find room.
 * @type {(pictures: Pictures, more: Pictures) => {pictures: Pictures, left: number}}
 */
export function joined(pictures, more) {
  const all = [...new Set([...pictures, ...more])];
  return { pictures: all.slice(0, MOST), left: Math.max(0, all.length - MOST) };
}

/** @type {(pictures: Pictures, n: number) => Pictures} */
export const without = (pictures, n) => pictures.filter((_, each) => each !== n);

/** Picture `n` one place nearer to the front. @type {(pictures: Pictures, n: number) => Pictures} */
export function advanced(pictures, n) {
  if (n < 1 || n >= pictures.length) return pictures;
  const moved = [...pictures];
  [moved[n - 1], moved[n]] = [moved[n], moved[n - 1]];
  return moved;
}

/** The size a picture travels in: LARGEST at most, its shape kept. @type {(size: Size) => Size} */
export function shrunk({ width, height }) {
  const factor = Math.min(1, LARGEST / Math.max(width, height));
  return { width: Math.max(1, Math.round(width * factor)), height: Math.max(1, Math.round(height * factor)) };
}
