// The zoom of the stage.

import assert from "node:assert/strict";
import { test } from "node:test";

import { limited, nearest, stepped, turned } from "../../javascript/anyms/model/zoom.mjs";

test("steps lead from the whole stage to four times and back", () => {
  const zooms = [1];
  for (let n = 0; n < 5; n++) zooms.push(stepped(zooms.at(-1), 1));
  assert.deepEqual(zooms, [1, 1.5, 2, 3, 4, 4]);
  assert.deepEqual([stepped(4, -1), stepped(2.7, -1), stepped(2.7, 1), stepped(1, -1)], [3, 2, 3, 1]);
  assert.equal(stepped(3, 0), 1);
});

test("the wheel zooms by the same factor in and out, one notch at most by half", () => {
  assert.ok(Math.abs(turned(turned(2, -7), 7) - 2) < 1e-9);
  assert.ok(turned(1, -4) > 1.03 && turned(1, -4) < 1.05); // a trackpad's pinch
  assert.equal(turned(1, -40), turned(1, -900)); // a mouse's notch, however long
  assert.ok(turned(1, -900) < 1.5);
  assert.deepEqual([turned(4, -120), turned(1, 120), limited(1.001), limited(9)], [4, 1, 1, 4]);
});

test("a view scrolls no further than it must", () => {
  assert.equal(nearest([10, 20], [0, 100]), 0);
  assert.equal(nearest([-10, 20], [0, 100]), -10);
  assert.equal(nearest([90, 130], [0, 100]), 30);
  assert.equal(nearest([-50, 150], [0, 100]), 0); // it shows nothing else
  assert.equal(nearest([60, 300], [0, 100]), 60); // its start, because not all of it fits
});
