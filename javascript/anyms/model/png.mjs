// What a host has written into a PNG beside the pixels. No page here.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const KEYWORD = "parameters"; // A1111 and all that came after it

/**
 * The infotext of a PNG; "" where it has none, or is none.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function infotextOf(bytes) {
  if (!SIGNATURE.every((byte, n) => bytes[n] === byte)) return "";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = latin(bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT" || kind === "IEND" || length > bytes.length - at - 12) return "";
    const told = textOf(kind, bytes.subarray(at + 8, at + 8 + length));
    if (told) return told;
    at += 12 + length;
  }
  return "";
}

/** @type {(kind: string, data: Uint8Array) => string} */
function textOf(kind, data) {
  const end = data.indexOf(0);
  if (end < 0 || latin(data.subarray(0, end)) !== KEYWORD) return "";
  if (kind === "tEXt") return latin(data.subarray(end + 1));
  if (kind !== "iTXt" || data[end + 1] !== 0) return ""; // compressed: no host writes that
  const language = data.indexOf(0, end + 3);
  const translated = data.indexOf(0, language + 1);
  return language < 0 || translated < 0 ? "" : new TextDecoder().decode(data.subarray(translated + 1));
}

/** PNG's Latin-1 is not the web's. @type {(bytes: Uint8Array) => string} */
function latin(bytes) {
  let told = "";
  for (let at = 0; at < bytes.length; at += 8192) told += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return told;
}

/** Whether AnyMS has an entry in an infotext. @type {(infotext: string) => boolean} */
export const namesAnyMS = (infotext) => /(^|[,\n] *)AnyMS: "/.test(infotext);
