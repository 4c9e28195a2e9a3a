// Crop boxes in pixels, masks, and the encoder's square.

import assert from "node:assert/strict";
import { test } from "node:test";

import { erased, isCard, pixelsOf, placedBy, replaced, toPaint } from "../../javascript/anyms/model/mask.mjs";

test("a crop has whole pixels, at least one per side", () => {
  assert.deepEqual(pixelsOf([0, 0, 1, 1], { width: 90, height: 120 }), { left: 0, top: 0, width: 90, height: 120 });
  assert.deepEqual(pixelsOf([0.21, 0.105, 0.64, 0.785], { width: 90, height: 120 }), {
    left: 18,
    top: 12,
    width: 40,
    height: 82,
  });
  assert.deepEqual(pixelsOf([0.999, 0.5, 1, 0.5001], { width: 10, height: 3 }), {
    left: 9,
    top: 1,
    width: 1,
    height: 1,
  });
});

test("each fit places a picture in the square as the server does", () => {
  const wide = { width: 200, height: 100 };
  assert.deepEqual(placedBy(wide, "pad", 224), [0, 0, 200, 100, 0, 56, 224, 112]);
  assert.deepEqual(placedBy(wide, "crop", 224), [50, 0, 100, 100, 0, 0, 224, 224]);
  assert.deepEqual(placedBy(wide, "stretch", 224), [0, 0, 200, 100, 0, 0, 224, 224]);
});

test("a mask becomes paint over everything but the subject", () => {
  const grey = Uint8ClampedArray.of(255, 255, 255, 255, 0, 0, 0, 255, 128, 128, 128, 255);
  toPaint(grey);
  assert.deepEqual([...grey], [255, 255, 255, 0, 255, 255, 255, 255, 255, 255, 255, 127]);
  const clear = Uint8ClampedArray.of(0, 0, 0, 255, 9, 9, 9, 0);
  toPaint(clear);
  assert.deepEqual([...clear], [255, 255, 255, 0, 255, 255, 255, 255]);
});

test("a crop replaces its source, and a card's thumbnail cannot be cropped", () => {
  assert.deepEqual(replaced(["a", "b"], "b", "c"), ["a", "c"]);
  assert.deepEqual(replaced(["a", "b"], "b", "a"), ["a"]);
  assert.equal(isCard("data:image/webp;card=0123456789ab;base64,AA"), true);
  assert.equal(isCard("data:image/webp;base64,AA"), false);
});

test("paint that erases everything or nothing is known", () => {
  const paint = (/** @type {number[]} */ ...values) => {
    const pixels = Uint8ClampedArray.from(values.flatMap((value) => [value, value, value, 255]));
    toPaint(pixels);
    return erased(pixels);
  };
  assert.deepEqual([paint(0, 0), paint(255, 255), paint(0, 255), paint(9, 9)], ["all", "nothing", "part", "part"]);
});
