// Text files as editors save them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readLayout } from "../../javascript/anyms/model/exchange.mjs";
import { decoded, textOf } from "../../javascript/anyms/model/text.mjs";

const LAYOUT = '{"version": 1, "subjects": [{"name": "猫 🐈", "box": [0, 0, 0.5, 1]}]}';

/** @type {(text: string, bigEndian: boolean) => Uint8Array} */
function utf16(text, bigEndian) {
  const bytes = new Uint8Array(2 * text.length);
  const view = new DataView(bytes.buffer);
  [...Array(text.length).keys()].forEach((at) => view.setUint16(2 * at, text.charCodeAt(at), !bigEndian));
  return bytes;
}

const FILES = {
  "UTF-8": new TextEncoder().encode(LAYOUT),
  "UTF-8 with a mark": new TextEncoder().encode(`\ufeff${LAYOUT}`),
  "UTF-16, little endian": utf16(`\ufeff${LAYOUT}`, false),
  "UTF-16, big endian": utf16(`\ufeff${LAYOUT}`, true),
};

for (const [name, bytes] of Object.entries(FILES)) {
  test(`a layout file in ${name} is read`, async () => {
    assert.equal(decoded(bytes), LAYOUT);
    assert.equal(readLayout(await textOf(new Blob([bytes])))[0].name, "猫 🐈");
  });
}

test("an empty file is an empty text", () => {
  assert.equal(decoded(new Uint8Array()), "");
});
