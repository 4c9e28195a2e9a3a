// The tools without a page: hints, the crop of a hires fix, saved arrangements.

import assert from "node:assert/strict";
import { test } from "node:test";

import { hints, MESSAGES } from "../../javascript/anyms/model/hints.mjs";
import { keptByHires } from "../../javascript/anyms/model/hires.mjs";
import * as layouts from "../../javascript/anyms/model/layout.mjs";
import * as saved from "../../javascript/anyms/model/saved-layouts.mjs";
import { PRESETS } from "../../javascript/anyms/model/presets.mjs";

const SIZE = { width: 1024, height: 1024 };
const PAGE = {
  size: SIZE,
  prompts: ["a photo of a Cat and a dog"],
  fit: "pad",
  pictures: () => [{ width: 500, height: 400 }],
};
const LEFT = [0, 0, 0.5, 1];
const RIGHT = [0.5, 0, 1, 1];
/** Facts of slots by number; a slot without a name is empty. */
const factsOf =
  (names, picture = "data:") =>
  (slot) => ({ name: names[slot] ?? "", role: "auto", picture: names[slot] === undefined ? "" : picture });
const layoutOf = (...boxes) => ({
  regions: boxes.map((box, n) => ({ slot: n + 1, box })),
  order: boxes.map((_, n) => n + 1),
});
const shown = (layout, facts, page = {}) =>
  hints(layout, facts, { ...PAGE, ...page }).map(({ slot, kind, message }) => [slot, kind, message]);

test("a good layout and an empty slot have no hints", () => {
  assert.deepEqual(shown(layoutOf(LEFT, RIGHT), factsOf({ 1: "cat", 2: "dog" })), []);
  assert.deepEqual(shown(layoutOf(LEFT, RIGHT), factsOf({})), []);
  assert.deepEqual(shown(layoutOf(LEFT), factsOf({ 1: "" })), []);
});

test("a completely covered subject gets a warning, a partly covered one does not", () => {
  const facts = factsOf({ 1: "cat", 2: "dog" });
  assert.deepEqual(shown(layoutOf([0.1, 0.1, 0.5, 0.5], [0, 0, 1, 1]), facts), [[1, "warning", MESSAGES.hidden]]);
  assert.deepEqual(shown(layoutOf([0.1, 0.1, 0.5, 0.5], [0, 0, 0.46, 1]), facts), []);
});

test("a name without a picture gets a warning", () => {
  assert.deepEqual(shown(layoutOf(LEFT), factsOf({ 1: "cat" }, "")), [[1, "warning", MESSAGES.noPicture]]);
});

test("a box under two tokens of the coarse layers gets a hint", () => {
  const facts = factsOf({ 1: "cat" });
  assert.deepEqual(shown(layoutOf([0, 0, 1.4 / 32, 0.5]), facts), [[1, "hint", MESSAGES.small]]);
  assert.deepEqual(shown(layoutOf([0, 0, 2 / 32, 0.5]), facts), []);
});

test("a picture far from square gets a hint when its ends are cropped", () => {
  const facts = factsOf({ 1: "cat" });
  const pictures = () => [
    { width: 400, height: 400 },
    { width: 400, height: 700 },
  ];
  assert.deepEqual(shown(layoutOf(LEFT), facts, { fit: "crop", pictures }), [[1, "hint", MESSAGES.cropped]]);
  assert.deepEqual(shown(layoutOf(LEFT), facts, { fit: "pad", pictures }), []);
  assert.deepEqual(shown(layoutOf(LEFT), facts, { fit: "crop" }), []);
});

test("a name that is in neither the typed nor the final prompt gets a hint", () => {
  const facts = factsOf({ 1: "black CAT" });
  const missing = [[1, "hint", MESSAGES.unnamed]];
  assert.deepEqual(shown(layoutOf(LEFT), facts, { prompts: ["a cat"] }), missing);
  assert.deepEqual(shown(layoutOf(LEFT), facts, { prompts: ["a cat, all black"] }), []);
  assert.deepEqual(shown(layoutOf(LEFT), facts, { prompts: ["__animal__", "a black cat on a beach"] }), []);
  assert.deepEqual(shown(layoutOf(LEFT), facts, { prompts: ["black", "cat"] }), missing);
  assert.deepEqual(shown(layoutOf(LEFT), facts, { prompts: ["", " "] }), []); // no prompt yet
  assert.deepEqual(shown(layoutOf(LEFT), factsOf({ 1: "subject 2" }), { prompts: ["a cat"] }), []);
});

test("a hires fix of another aspect keeps the middle, as the host crops it", () => {
  assert.deepEqual(keptByHires({ width: 512, height: 512 }, { width: 1024, height: 512 }), [0, 0.25, 1, 0.75]);
  assert.deepEqual(
    keptByHires({ width: 192, height: 128 }, { width: 256, height: 256 }),
    [0.16666666666666666, 0, 0.8333333333333334, 1],
  );
  // An odd cell is cropped at the end.
  assert.deepEqual(keptByHires({ width: 512, height: 512 }, { width: 512, height: 488 }), [0, 1 / 64, 1, 62 / 64]);
  for (const [width, height] of [
    [1024, 1024],
    [0, 768],
    [NaN, NaN],
  ]) {
    assert.equal(keptByHires({ width: 512, height: 512 }, { width, height }), null);
  }
});

test("saved arrangements are read back, and damaged ones are left out", () => {
  const presets = saved.withPreset({}, "  duel ", PRESETS.sideBySide(2));
  assert.deepEqual(saved.readPresets(saved.writePresets(presets)), { duel: PRESETS.sideBySide(2) });
  const more = saved.withPreset(presets, "duel", PRESETS.grid(4));
  assert.deepEqual(Object.keys(more), ["duel"]);
  assert.equal(saved.withPreset(presets, " ", PRESETS.grid(4)), null);
  assert.equal(saved.withPreset(presets, "none", []), null);
  assert.deepEqual(saved.withoutPreset(more, "duel"), {});
  for (const text of [null, "", "[]", "{}", '{"version": 2, "presets": {}}', '{"version": 1, "presets": null}']) {
    assert.deepEqual(saved.readPresets(text), {});
  }
  const damaged = {
    version: 1,
    presets: { good: [[0, 0, 0.5, 1]], "": [[0, 0, 1, 1]], text: "x", few: [[0, 1]], empty: [] },
  };
  assert.deepEqual(saved.readPresets(JSON.stringify(damaged)), { good: [[0, 0, 0.5, 1]] });
  const full = Object.fromEntries(Array.from({ length: 100 }, (_, n) => [`p${n}`, [[0, 0, 1, 1]]]));
  assert.equal(saved.withPreset(full, "one more", [[0, 0, 1, 1]]), null);
  assert.ok(saved.withPreset(full, "p1", [[0, 0, 0.5, 1]]));
});

test("a file of arrangements never takes one of the user's own", () => {
  const many = (count, prefix, box) => Object.fromEntries(Array.from({ length: count }, (_, n) => [prefix + n, [box]]));
  const own = many(50, "mine ", LEFT);
  const file = saved.readPresets(saved.writePresets(many(100, "", RIGHT)));
  assert.equal(Object.keys(file).length, 100);
  const all = saved.merged(own, file);
  assert.deepEqual([Object.keys(all.presets).length, all.added, all.rejected], [100, 50, 50]);
  for (const name of Object.keys(own)) assert.deepEqual(all.presets[name], [LEFT]);
  const clash = saved.merged({ duel: [LEFT], "duel (2)": [LEFT], same: [RIGHT] }, { duel: [RIGHT], same: [RIGHT] });
  assert.deepEqual(clash.presets, { duel: [LEFT], "duel (2)": [LEFT], same: [RIGHT], "duel (3)": [RIGHT] });
  const long = "x".repeat(60);
  const renamed = Object.keys(saved.merged({ [long]: [LEFT] }, { [long]: [RIGHT] }).presets)[1];
  assert.equal(renamed, `${"x".repeat(56)} (2)`);
});

test("an arrangement fills its boxes from the lowest layer, adds missing subjects, and leaves the rest", () => {
  const facts = factsOf({ 1: "cat", 2: "dog" });
  const three = [
    [0, 0, 1, 1],
    [0, 0, 0.5, 0.5],
    [0.5, 0.5, 1, 1],
  ];
  const reordered = { ...layoutOf(LEFT, RIGHT), order: [2, 1] };
  const applied = saved.applied(reordered, facts, three.slice(0, 2), 12);
  assert.deepEqual(applied.regions, [
    { slot: 1, box: three[1] },
    { slot: 2, box: three[0] },
  ]);
  assert.deepEqual(layouts.stacked(applied, facts), [2, 1]);
  const more = saved.applied(reordered, facts, three, 12);
  assert.deepEqual(
    more.regions.map((region) => region.slot),
    [1, 2, 3],
  );
  assert.equal(saved.applied(reordered, facts, three, 2).regions.length, 2);
  const fewer = saved.applied(layoutOf(LEFT, RIGHT), facts, three.slice(2), 12);
  assert.deepEqual(
    fewer.regions.map((region) => region.box),
    [three[2], RIGHT],
  );
  assert.deepEqual(saved.presetOf(more, facts).length, 3);
});
