// The text of a file: the browser's own File.text() takes every file for UTF-8.

/**
 * Decodes by the byte order mark: UTF-16 as Windows' editors save it, else UTF-8.
 * @type {(bytes: Uint8Array) => string}
 */
export function decoded(bytes) {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (first === 0xfe && second === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  return new TextDecoder().decode(bytes); // drops a mark
}

/** @type {(file: Blob) => Promise<string>} */
export const textOf = async (file) => decoded(new Uint8Array(await file.arrayBuffer()));
