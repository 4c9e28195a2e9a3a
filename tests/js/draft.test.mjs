// The draft that the browser keeps: written, bounded, and read back with care.

import assert from "node:assert/strict";
import { test } from "node:test";

import { countOf, draftOf, readDraft } from "../../javascript/anyms/model/draft.mjs";
import { DEFAULTS } from "../../javascript/anyms/model/layout.mjs";

const SLOTS = 3;
const LAYOUT = {
  regions: [
    { slot: 1, box: [0, 0, 0.5, 1] },
    { slot: 2, box: [0.5, 0, 1, 1], off: true, locked: true },
  ],
  order: [2, 1, 3],
  pictures: [["data:image/png;base64,aa"], [], []],
  names: ["cat", "dog", ""],
  settings: [{ ...DEFAULTS, weight: 1.5, prompt: "black fur" }, DEFAULTS, DEFAULTS],
};

test("a draft is read back as it was", () => {
  assert.deepEqual(readDraft(structuredClone(draftOf(LAYOUT)), SLOTS), LAYOUT);
  assert.equal(countOf(LAYOUT), 2); // one that is off counts, too
  assert.equal(countOf({ ...LAYOUT, names: [], pictures: [] }), 0);
});

test("a layout with too many pictures is kept without them", () => {
  const huge = `data:${"x".repeat(33 * 2 ** 20)}`;
  const { layout } = draftOf({ ...LAYOUT, pictures: [[huge, huge], [], []] });
  assert.deepEqual(layout.pictures, [[], [], []]);
  assert.deepEqual(layout.names, LAYOUT.names);
});

test("what is no draft gives none, and wrong parts become defaults", () => {
  const layouts = [null, {}, { regions: [] }, { regions: [{ slot: 1, box: [0, 1] }] }, { regions: [{ slot: 9, box: [0, 0, 1, 1] }] }];
  for (const layout of layouts) assert.equal(readDraft({ version: 1, layout }, SLOTS), null);
  for (const value of [null, undefined, 5, "x", { version: 2, layout: LAYOUT }]) assert.equal(readDraft(value, SLOTS), null);
  const box = [0, 0, 1, 1];
  assert.equal(readDraft({ version: 1, layout: { regions: [{ slot: 1, box }, { slot: 1, box }] } }, SLOTS), null);
  const odd = { regions: [{ slot: 1, box }], order: ["x"], pictures: [["http://x", 5]], names: [7], settings: [{ weight: "2" }] };
  const read = readDraft({ version: 1, layout: odd }, SLOTS);
  assert.deepEqual([read.order, read.pictures[0], read.names[0], read.settings[0]], [null, [], "", DEFAULTS]);
});
