// A slot's pictures as text, the infotext of a PNG, and the choice of the background picture.

import assert from "node:assert/strict";
import { test } from "node:test";
import { deflateSync } from "node:zlib";

import { closestAspect } from "../../javascript/anyms/view/background.mjs";
import {
  advanced,
  joined,
  MAX_PICTURES,
  readPictures,
  shrunk,
  without,
  writePictures,
} from "../../javascript/anyms/model/pictures.mjs";
import { infotextOf, namesAnyMS } from "../../javascript/anyms/model/png.mjs";

const [A, B, C] = ["a", "b", "c"].map((data) => `data:image/png;base64,${data}`);

test("written pictures are read back, and an invalid text has none", () => {
  for (const pictures of [[], [A], [A, B, C]]) assert.deepEqual(readPictures(writePictures(pictures)), pictures);
  assert.equal(writePictures([]), ""); // an empty slot
  for (const text of ["", "[", "5", "{}", "null", "[5]"]) assert.deepEqual(readPictures(text), []);
  assert.deepEqual(readPictures('["iVBO"]'), ["data:;base64,iVBO"]); // the API also takes plain base64
});

test("new pictures follow the others, without duplicates, up to the limit", () => {
  assert.deepEqual(joined([A], [B, A]), { pictures: [A, B], rejected: 0 });
  const many = Array.from({ length: 11 }, (_, n) => `data:${n}`);
  assert.deepEqual(joined([A], many), { pictures: [A, ...many.slice(0, MAX_PICTURES - 1)], rejected: 4 });
});

test("removing and moving a picture changes nothing else", () => {
  const all = Object.freeze([A, B, C]);
  assert.deepEqual(without(all, 1), [A, C]);
  assert.deepEqual(advanced(all, 2), [A, C, B]);
  assert.deepEqual(advanced(all, 1), [B, A, C]);
  for (const n of [0, 3, -1]) assert.deepEqual(advanced(all, n), [A, B, C]);
});

test("a sent picture has at most 1024 pixels per side and its own aspect", () => {
  assert.deepEqual(shrunk({ width: 4000, height: 3000 }), { width: 1024, height: 768 });
  assert.deepEqual(shrunk({ width: 3000, height: 4000 }), { width: 768, height: 1024 });
  assert.deepEqual(shrunk({ width: 1024, height: 9 }), { width: 1024, height: 9 });
  assert.deepEqual(shrunk({ width: 9000, height: 1 }), { width: 1024, height: 1 });
});

/** A PNG of these chunks, without checksums: the reader skips them. */
function png(...chunks) {
  const parts = [[137, 80, 78, 71, 13, 10, 26, 10]];
  for (const [kind, data] of [
    ["IHDR", Buffer.alloc(13)],
    ...chunks,
    ["IDAT", deflateSync("x")],
    ["IEND", Buffer.alloc(0)],
  ]) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(data.length);
    parts.push(length, Buffer.from(kind, "latin1"), data, Buffer.alloc(4));
  }
  return new Uint8Array(Buffer.concat(parts.map((part) => Buffer.from(part))));
}

const INFOTEXT = 'ein Kätzchen\nSteps: 4, AnyMS: "{\\"version\\":1}", Version: v1';

test("a PNG's infotext is read from tEXt and from iTXt", () => {
  const latin = Buffer.from(`parameters\0${INFOTEXT}`, "latin1");
  assert.equal(infotextOf(png(["tEXt", Buffer.from("Software\0x", "latin1")], ["tEXt", latin])), INFOTEXT);
  const unicode = Buffer.from(`parameters\0\0\0\0\0${INFOTEXT} 猫`, "utf8");
  assert.equal(infotextOf(png(["iTXt", unicode])), `${INFOTEXT} 猫`);
  const whole = Buffer.concat([Buffer.from("before"), Buffer.from(png(["tEXt", latin]))]);
  assert.equal(infotextOf(new Uint8Array(whole.buffer, whole.byteOffset + 6, whole.length - 6)), INFOTEXT);
});

test("no infotext: a PNG without one, a damaged PNG, other bytes", () => {
  const latin = Buffer.from(`parameters\0${INFOTEXT}`, "latin1");
  const good = png(["tEXt", latin]);
  for (let length = 0; length < good.length - 60; length += 1) {
    infotextOf(good.subarray(0, length)); // must end without an error
  }
  assert.equal(infotextOf(good.subarray(0, 60)), "");
  assert.equal(infotextOf(png()), "");
  const compressed = Buffer.from(`parameters\0\u0001\0\0\0${INFOTEXT}`, "latin1");
  assert.equal(infotextOf(png(["iTXt", compressed])), "");
  assert.equal(infotextOf(new TextEncoder().encode(INFOTEXT)), "");
});

test("only an infotext with an AnyMS entry restores a layout", () => {
  assert.ok(namesAnyMS(INFOTEXT));
  assert.ok(namesAnyMS('a cat\nSteps: 4, AnyMS: "cat: 5,25 43x55 %; dog: 50,20 30x70 %", Version: v1'));
  assert.ok(!namesAnyMS("a cat\nSteps: 4, AnyMS skipped: no"));
  assert.ok(!namesAnyMS("NotAnyMS: "));
});

test("the picture of the right aspect lies behind the boxes, not the grid before it", () => {
  const image = (naturalWidth, naturalHeight) => ({ naturalWidth, naturalHeight });
  const [grid, one] = [image(1536, 1024), image(768, 1024)];
  assert.equal(closestAspect([grid, one], 0.75), one);
  assert.equal(closestAspect([image(0, 0), grid], 0.75), grid);
  assert.equal(closestAspect([], 1), undefined);
});
