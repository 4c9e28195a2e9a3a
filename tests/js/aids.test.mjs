// What helps to judge and to reuse a layout, without a page: hints, what a hires fix cuts, own arrangements.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hints, WORDS } from "../../javascript/anyms/model/hints.mjs";
import { leftBy } from "../../javascript/anyms/model/hires.mjs";
import * as layouts from "../../javascript/anyms/model/layout.mjs";
import * as own from "../../javascript/anyms/model/saved-layouts.mjs";
import { PRESETS } from "../../javascript/anyms/model/presets.mjs";

const SIZE = { width: 1024, height: 1024 };
const PAGE = { size: SIZE, prompts: ["a photo of a Cat and a dog"], fit: "pad", pictures: () => [{ width: 500, height: 400 }] };
const LEFT = [0, 0, 0.5, 1];
const RIGHT = [0.5, 0, 1, 1];
const held = (names, picture = "data:") => (slot) => ({ name: names[slot] ?? "", role: "auto", picture: names[slot] === undefined ? "" : picture });
const placed = (...boxes) => ({ regions: boxes.map((box, n) => ({ slot: n + 1, box })), order: boxes.map((_, n) => n + 1) });
const told = (layout, facts, page = {}) => hints(layout, facts, { ...PAGE, ...page }).map(({ slot, kind, words }) => [slot, kind, words]);

test("a layout that is right has no hints, nor has an empty slot", () => {
  assert.deepEqual(told(placed(LEFT, RIGHT), held({ 1: "cat", 2: "dog" })), []);
  assert.deepEqual(told(placed(LEFT, RIGHT), held({})), []);
  assert.deepEqual(told(placed(LEFT), held({ 1: "" })), []);
});

test("who is covered wholly is warned, who is not quite is not", () => {
  const facts = held({ 1: "cat", 2: "dog" });
  assert.deepEqual(told(placed([0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]), facts), [[1, "warning", WORDS.hidden]]);
  assert.deepEqual(told(placed([0.1, 0.1, 0.5, 0.5], [0, 0, 0.46, 1]), facts), []);
});

test("a name without a picture is warned", () => {
  assert.deepEqual(told(placed(LEFT), held({ 1: "cat" }, "")), [[1, "warning", WORDS.noPicture]]);
});

test("a box under two tokens of the coarse layers", () => {
  const facts = held({ 1: "cat" });
  assert.deepEqual(told(placed([0, 0, 1.4 / 32, 0.5]), facts), [[1, "hint", WORDS.small]]);
  assert.deepEqual(told(placed([0, 0, 2 / 32, 0.5]), facts), []);
});

test("a picture far from square, where its ends are cut off", () => {
  const facts = held({ 1: "cat" });
  const pictures = () => [{ width: 400, height: 400 }, { width: 400, height: 700 }];
  assert.deepEqual(told(placed(LEFT), facts, { fit: "crop", pictures }), [[1, "hint", WORDS.cropped]]);
  assert.deepEqual(told(placed(LEFT), facts, { fit: "pad", pictures }), []);
  assert.deepEqual(told(placed(LEFT), facts, { fit: "crop" }), []);
});

test("a name is looked for in the prompt as typed and in the final one; that it is not there is a hint only", () => {
  const facts = held({ 1: "black CAT" });
  const missing = [[1, "hint", WORDS.unnamed]];
  assert.deepEqual(told(placed(LEFT), facts, { prompts: ["a cat"] }), missing);
  assert.deepEqual(told(placed(LEFT), facts, { prompts: ["a cat, all black"] }), []);
  assert.deepEqual(told(placed(LEFT), facts, { prompts: ["__animal__", "a black cat on a beach"] }), []);
  assert.deepEqual(told(placed(LEFT), facts, { prompts: ["black", "cat"] }), missing);
  assert.deepEqual(told(placed(LEFT), facts, { prompts: ["", " "] }), []); // nothing is typed yet
});

test("a hires fix to another shape leaves the middle, as the host cuts it", () => {
  assert.deepEqual(leftBy({ width: 512, height: 512 }, { width: 1024, height: 512 }), [0, 0.25, 1, 0.75]);
  assert.deepEqual(leftBy({ width: 192, height: 128 }, { width: 256, height: 256 }), [0.16666666666666666, 0, 0.8333333333333334, 1]);
  assert.deepEqual(leftBy({ width: 512, height: 512 }, { width: 512, height: 488 }), [0, 1 / 64, 1, 62 / 64]); // the odd cell at the end
  for (const to of [{ width: 1024, height: 1024 }, { width: 0, height: 768 }, { width: NaN, height: NaN }]) assert.equal(leftBy({ width: 512, height: 512 }, to), null);
});

test("own arrangements survive their text, and what is damaged is left out", () => {
  const presets = own.kept({}, "  duel ", PRESETS.sideBySide(2));
  assert.deepEqual(own.readPresets(own.writePresets(presets)), { duel: PRESETS.sideBySide(2) });
  const more = own.kept(presets, "duel", PRESETS.grid(4));
  assert.deepEqual(Object.keys(more), ["duel"]);
  assert.equal(own.kept(presets, " ", PRESETS.grid(4)), null);
  assert.equal(own.kept(presets, "none", []), null);
  assert.deepEqual(own.dropped(more, "duel"), {});
  for (const text of [null, "", "[]", "{}", '{"version": 2, "presets": {}}', '{"version": 1, "presets": null}']) assert.deepEqual(own.readPresets(text), {});
  const damaged = { version: 1, presets: { good: [[0, 0, 0.5, 1]], "": [[0, 0, 1, 1]], text: "x", few: [[0, 1]], empty: [] } };
  assert.deepEqual(own.readPresets(JSON.stringify(damaged)), { good: [[0, 0, 0.5, 1]] });
  const full = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`p${n}`, [[0, 0, 1, 1]]]));
  assert.equal(own.kept(full, "one more", [[0, 0, 1, 1]]), null);
  assert.ok(own.kept(full, "p1", [[0, 0, 0.5, 1]]));
});

test("an arrangement puts the lowest subject first, adds places that lack, and leaves those beyond", () => {
  const facts = held({ 1: "cat", 2: "dog" });
  const three = [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1]];
  const turned = { ...placed(LEFT, RIGHT), order: [2, 1] };
  const applied = own.applied(turned, facts, three.slice(0, 2), 12);
  assert.deepEqual(applied.regions, [{ slot: 1, box: three[1] }, { slot: 2, box: three[0] }]);
  assert.deepEqual(layouts.stacked(applied, facts), [2, 1]);
  const more = own.applied(turned, facts, three, 12);
  assert.deepEqual(more.regions.map((region) => region.slot), [1, 2, 3]);
  assert.equal(own.applied(turned, facts, three, 2).regions.length, 2);
  const fewer = own.applied(placed(LEFT, RIGHT), facts, three.slice(2), 12);
  assert.deepEqual(fewer.regions.map((region) => region.box), [three[2], RIGHT]);
  assert.deepEqual(own.presetOf(more, facts).length, 3);
});
