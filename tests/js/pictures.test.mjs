// A slot's pictures as one text, what is read of a PNG, and which picture lies behind the boxes.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { likest } from "../../javascript/anyms/view/background.mjs";
import { advanced, joined, MOST, readPictures, shrunk, without, writePictures } from "../../javascript/anyms/model/pictures.mjs";
import { infotextOf, namesAnyMS } from "../../javascript/anyms/model/png.mjs";

const [A, B, C] = ["a", "b", "c"].map((each) => `data:image/png;base64,${each}`);

test("what is written is read again, and what is none holds nothing", () => {
  for (const pictures of [[], [A], [A, B, C]]) assert.deepEqual(readPictures(writePictures(pictures)), pictures);
  assert.equal(writePictures([]), ""); // an empty slot
  for (const text of ["", "[", "5", "{}", "null", "[5]"]) assert.deepEqual(readPictures(text), []);
  assert.deepEqual(readPictures('["iVBO"]'), ["data:;base64,iVBO"]); // an API's base64
});

test("pictures come behind the others, none twice, and not more than a subject takes", () => {
  assert.deepEqual(joined([A], [B, A]), { pictures: [A, B], left: 0 });
  const many = Array.from({ length: 11 }, (_, n) => `data:${n}`);
  assert.deepEqual(joined([A], many), { pictures: [A, ...many.slice(0, MOST - 1)], left: 4 });
});

test("one is removed, one comes to the front, and nothing else changes", () => {
  const all = Object.freeze([A, B, C]);
  assert.deepEqual(without(all, 1), [A, C]);
  assert.deepEqual(advanced(all, 2), [A, C, B]);
  assert.deepEqual(advanced(all, 1), [B, A, C]);
  for (const n of [0, 3, -1]) assert.deepEqual(advanced(all, n), [A, B, C]);
});

test("no side travels with more than 1024 pixels, the shape is kept, small ones stay", () => {
  assert.deepEqual(shrunk({ width: 4000, height: 3000 }), { width: 1024, height: 768 });
  assert.deepEqual(shrunk({ width: 3000, height: 4000 }), { width: 768, height: 1024 });
  assert.deepEqual(shrunk({ width: 1024, height: 9 }), { width: 1024, height: 9 });
  assert.deepEqual(shrunk({ width: 9000, height: 1 }), { width: 1024, height: 1 });
});

/** A PNG of these chunks; nothing here reads a checksum. */
function png(...chunks) {
  const parts = [[137, 80, 78, 71, 13, 10, 26, 10]];
  for (const [kind, data] of [["IHDR", Buffer.alloc(13)], ...chunks, ["IDAT", deflateSync("x")], ["IEND", Buffer.alloc(0)]]) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    parts.push(length, Buffer.from(kind, "latin1"), data, Buffer.alloc(4));
  }
  return new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part))));
}

const TOLD = 'ein Kätzchen\nSteps: 4, AnyMS: "{\\"version\\":1}", Version: v1';

test("a PNG's infotext is found, whichever way the host wrote it", () => {
  const latin = Buffer.from(`parameters\0${TOLD}`, "latin1");
  assert.equal(infotextOf(png(["tEXt", Buffer.from("Software\0x", "latin1")], ["tEXt", latin])), TOLD);
  const unicode = Buffer.from(`parameters\0\0\0\0\0${TOLD} 猫`, "utf8");
  assert.equal(infotextOf(png(["iTXt", unicode])), `${TOLD} 猫`);
  const whole = Buffer.concat([Buffer.from("before"), Buffer.from(png(["tEXt", latin]))]);
  assert.equal(infotextOf(new Uint8Array(whole.buffer, whole.byteOffset + 6, whole.length - 6)), TOLD);
});

test("a PNG without one, a damaged one and what is no PNG have none", () => {
  const latin = Buffer.from(`parameters\0${TOLD}`, "latin1");
  const good = png(["tEXt", latin]);
  for (let length = 0; length < good.length - 60; length += 1) infotextOf(good.subarray(0, length)); // must end, and throw nothing
  assert.equal(infotextOf(good.subarray(0, 60)), "");
  assert.equal(infotextOf(png()), "");
  assert.equal(infotextOf(png(["iTXt", Buffer.from(`parameters\0\u0001\0\0\0${TOLD}`, "latin1")])), ""); // compressed
  assert.equal(infotextOf(new TextEncoder().encode(TOLD)), "");
});

test("only a picture that tells of AnyMS restores a layout", () => {
  assert.ok(namesAnyMS(TOLD));
  assert.ok(!namesAnyMS("a cat\nSteps: 4, AnyMS skipped: no"));
  assert.ok(!namesAnyMS("NotAnyMS: "));
});

test("the picture in the wanted shape lies behind the boxes, not the grid before it", () => {
  const image = (naturalWidth, naturalHeight) => ({ naturalWidth, naturalHeight });
  const [grid, one] = [image(1536, 1024), image(768, 1024)];
  assert.equal(likest([grid, one], 0.75), one);
  assert.equal(likest([image(0, 0), grid], 0.75), grid);
  assert.equal(likest([], 1), undefined);
});
