// The infotext in a PNG's text chunks.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const KEYWORD = "parameters"; // used by A1111 and all its descendants

/**
 * The infotext of a PNG; "" if it has none, or if `bytes` are no PNG.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function infotextOf(bytes) {
  if (!SIGNATURE.every((byte, n) => bytes[n] === byte)) return "";
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = 8; at + 12 <= bytes.length;) {
    const length = view.getUint32(at);
    const kind = latin(bytes.subarray(at + 4, at + 8));
    if (kind === "IDAT" || kind === "IEND" || length > bytes.length - at - 12) return "";
    const infotext = textOf(kind, bytes.subarray(at + 8, at + 8 + length));
    if (infotext) return infotext;
    at += 12 + length;
  }
  return "";
}

/** @type {(kind: string, data: Uint8Array) => string} */
function textOf(kind, data) {
  const end = data.indexOf(0);
  if (end < 0 || latin(data.subarray(0, end)) !== KEYWORD) return "";
  if (kind === "tEXt") return latin(data.subarray(end + 1));
  if (kind !== "iTXt" || data[end + 1] !== 0) return ""; // no host writes compressed text
  const language = data.indexOf(0, end + 3);
  const translated = data.indexOf(0, language + 1);
  return language < 0 || translated < 0 ? "" : new TextDecoder().decode(data.subarray(translated + 1));
}

/**
 * Decodes by hand: the browser's "latin1" is Windows-1252, which differs from PNG's Latin-1.
 * @type {(bytes: Uint8Array) => string}
 */
function latin(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return text;
}

/** Whether an infotext has an entry of AnyMS. @type {(infotext: string) => boolean} */
export const namesAnyMS = (infotext) => /(^|[,\n] *)AnyMS: "/.test(infotext);
