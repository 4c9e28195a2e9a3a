// The layout without a page: each edit, and random sequences of edits.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fitted, gridded, inRatio, inShapeOf, moved, resized, SMALLEST, TOKEN, typed } from "../../javascript/anyms/model/boxes.mjs";
import { begun, changed, redone, undone } from "../../javascript/anyms/model/history.mjs";
import { actionOf } from "../../javascript/anyms/model/keys.mjs";
import * as layouts from "../../javascript/anyms/model/layout.mjs";
import { applied } from "../../javascript/anyms/model/saved-layouts.mjs";
import { isSubject, isTooLarge, readCopied, writeSubject } from "../../javascript/anyms/model/subject-text.mjs";
import { PRESETS } from "../../javascript/anyms/model/presets.mjs";

const SIZE = { width: 1024, height: 768 };
const SLOTS = 12;
const NO_LAYOUT = (error) => error.constructor.name === "NoLayout"; // `?v=` makes the class another one than ours
/** Facts of slots by number; a slot without a name is empty. */
const factsOf = (names) => (slot) => ({ name: names[slot] ?? "", role: "auto", picture: names[slot] ? "data:" : "" });
const TWO = factsOf({ 1: "cat", 2: "dog" });
const START = {
  regions: [
    { slot: 1, box: [0.05, 0.15, 0.48, 0.95] },
    { slot: 2, box: [0.52, 0.15, 0.95, 0.95] },
  ],
  order: null,
};

test("a box moves by whole tokens and keeps its size", () => {
  const box = moved([0.05, 0.15, 0.48, 0.95], [0.1, 0], SIZE, TOKEN);
  assert.deepEqual(box, [0.1563, 0.15, 0.5862, 0.95]);
  assert.deepEqual(moved([0.05, 0.15, 0.48, 0.95], [0.1, 0], SIZE, 0), [0.15, 0.15, 0.58, 0.95]);
  // Pixel 532 snaps to 544, not to 528.
  assert.equal(resized([0.25, 0.25, 0.5, 0.5], "e", [0.02, 0], SIZE, TOKEN)[2], 0.5313);
});

test("a box stops at the picture's edges", () => {
  assert.deepEqual(moved([0.25, 0.25, 0.5, 0.5], [9, -9], SIZE, TOKEN), [0.75, 0, 1, 0.25]);
  assert.deepEqual(resized([0.25, 0.25, 0.5, 0.5], "se", [9, 9], SIZE, TOKEN), [0.25, 0.25, 1, 1]);
});

test("each handle moves only its own edges, and none past the opposite one", () => {
  const box = [0.25, 0.25, 0.5, 0.5];
  const by = [0.125, 0.125];
  const expected = {
    n: [0.25, 0.375, 0.5, 0.5],
    e: [0.25, 0.25, 0.625, 0.5],
    s: [0.25, 0.25, 0.5, 0.625],
    w: [0.375, 0.25, 0.5, 0.5],
  };
  for (const [edges, result] of Object.entries(expected)) assert.deepEqual(resized(box, edges, by, SIZE, 0), result);
  assert.deepEqual(resized(box, "nw", by, SIZE, 0), [0.375, 0.375, 0.5, 0.5]);
  assert.deepEqual(resized(box, "e", [-9, 0], SIZE, TOKEN), [0.25, 0.25, 0.2813, 0.5]);
  assert.deepEqual(resized(box, "n", [0, 9], SIZE, TOKEN), [0.25, 0.4688, 0.5, 0.5]);
});

test("a corner keeps the ratio, inside the picture and not under the smallest side", () => {
  const box = [0.2, 0.2, 0.6, 0.4];
  const sized = (edges, by) => resized(box, edges, inRatio(box, edges, by), SIZE, 0);
  assert.deepEqual(sized("se", [0.2, 0]), [0.2, 0.2, 0.8, 0.5]);
  assert.deepEqual(sized("se", [-0.2, -0.1]), [0.2, 0.2, 0.4, 0.3]);
  assert.deepEqual(sized("nw", [-0.1, 0]), [0.1, 0.15, 0.6, 0.4]);
  for (const [edges, by] of [
    ["se", [9, 9]],
    ["nw", [-9, 3]],
    ["ne", [-9, 9]],
  ]) {
    const [x0, y0, x1, y1] = sized(edges, by);
    assert.ok(Math.abs((x1 - x0) / (y1 - y0) - 2) < 0.01, `${edges} ${by}`);
    assert.ok(x0 >= 0 && y0 >= 0 && x1 <= 1 && y1 <= 1 && y1 - y0 >= SMALLEST - 1e-4);
  }
});

test("a drawn box may begin at any corner and lies on the grid", () => {
  assert.deepEqual(gridded([0.5, 0.5, 0.24, 0.26], SIZE, TOKEN), [0.25, 0.25, 0.5, 0.5]);
  assert.deepEqual(gridded([-0.2, 0.1, 0.3, 2], SIZE, 0), [0, 0.1, 0.3, 1]);
  const drawn = layouts.withNew(START, 7, [0.25, 0.25, 0.5, 0.5]);
  assert.deepEqual(drawn.regions.slice(0, 2), START.regions); // the others stay
  assert.deepEqual(layouts.slotsUnder(drawn, TWO, [0.3, 0.3]), [1, 7]);
});

test("any four numbers become a box", () => {
  assert.deepEqual(fitted([0.9, 0.5, 0.1, 0.5]), [0.1, 0.5, 0.9, 0.5313]);
  assert.deepEqual(fitted([NaN, 1, 2, 1]), [0, 0.9688, 1, 1]);
});

test("typing a position keeps the size, typing a size keeps the corner", () => {
  assert.deepEqual(typed([0.25, 0.25, 0.5, 0.5], 0, 40), [0.4, 0.25, 0.65, 0.5]);
  assert.deepEqual(typed([0.25, 0.25, 0.5, 0.5], 1, 90), [0.25, 0.75, 0.5, 1]);
  assert.deepEqual(typed([0.25, 0.25, 0.5, 0.5], 2, 50), [0.25, 0.25, 0.75, 0.5]);
  assert.deepEqual(typed([0.25, 0.25, 0.5, 0.5], 3, -5), [0.25, 0.25, 0.5, 0.2813]);
});

test("the page's fields become the layout, where an empty slot beyond the first two is not shown", () => {
  const values = { boxes: Array(12).fill([0, 0, 0.5, 0.00123456]), used: Array(12).fill(true), order: "2" };
  const read = layouts.fromFields(values, factsOf({ 5: "hat" }), 2);
  assert.deepEqual(
    read.regions.map((region) => region.slot),
    [1, 2, 5],
  );
  assert.deepEqual(read.regions[0].box, [0, 0, 0.5, 0.00123456]); // a pasted value is not rounded
  assert.deepEqual(layouts.stacked(read, TWO), [2, 1, 5]);
  const used = values.used.map((_, n) => n !== 1);
  assert.deepEqual(
    layouts.fromFields({ ...values, used }, TWO, 2).regions.map((region) => region.slot),
    [1],
  );
  assert.deepEqual(
    layouts.fromFields(values, TWO, 2, read).regions.map((region) => region.slot),
    [1, 2, 5],
  );
  assert.equal(layouts.fromFields({ ...values, order: "nonsense" }, TWO, 2).order, null);
});

test("an added subject gets a place beside the others while they stand as proposed", () => {
  const { layout, slot } = layouts.added(START, TWO, SLOTS);
  assert.equal(slot, 3);
  assert.deepEqual(
    layout.regions.map((region) => region.box),
    PRESETS.sideBySide(3),
  );
  const moved = layouts.withBox(START, 1, [0, 0, 0.3, 0.3]);
  const other = layouts.added(moved, TWO, SLOTS).layout;
  assert.deepEqual(other.regions.slice(0, 2), moved.regions);
});

test("a new box covers none of the others while there is room", () => {
  const overlap = ([a, b, c, d], [e, f, g, h]) =>
    Math.max(0, Math.min(c, g) - Math.max(a, e)) * Math.max(0, Math.min(d, h) - Math.max(b, f));
  let layout = { ...START, regions: [{ slot: 1, box: [0.3, 0.2, 0.7, 0.8] }] };
  for (const slot of [2, 3, 4]) {
    layout = layouts.added(layout, factsOf({ 1: "cat" }), SLOTS).layout;
    const box = layouts.boxOf(layout, slot);
    for (const other of layout.regions) assert.ok(other.slot === slot || overlap(box, other.box) < 1e-6);
  }
  const whole = { ...START, regions: [{ slot: 1, box: [0, 0, 1, 1] }] };
  assert.ok(layouts.boxOf(layouts.added(whole, factsOf({ 1: "sea" }), SLOTS).layout, 2)[0] > 0.2); // a background is no obstacle
});

test("a dropped file goes to the empty box at that point, else to the topmost one", () => {
  const regions = [
    { slot: 1, box: [0, 0, 0.6, 1] },
    { slot: 2, box: [0.4, 0, 1, 1] },
    { slot: 3, box: [0.5, 0.5, 1, 1] },
  ];
  const facts = factsOf({ 1: "cat", 2: "dog" });
  assert.equal(layouts.slotAt({ regions, order: [1, 2, 3] }, facts, [0.5, 0.2]), 2);
  assert.equal(layouts.slotAt({ regions, order: [3, 2, 1] }, facts, [0.5, 0.2]), 1);
  assert.equal(layouts.slotAt({ regions, order: null }, facts, [0.55, 0.7]), 3); // it lies behind the others
  assert.equal(layouts.slotAt({ regions: regions.slice(0, 1), order: null }, facts, [0.7, 0.7]), 0);
});

test("nothing of a removed subject returns with its slot, and undo brings all back", () => {
  const settings = Array(SLOTS).fill({ ...layouts.DEFAULTS, prompt: "black fur", weight: 1.5 });
  const full = { ...START, names: Array(SLOTS).fill("cat"), pictures: Array(SLOTS).fill(["data:"]), settings };
  const without = layouts.removed(full, 2);
  assert.equal(layouts.nameOf(without, 2), "");
  assert.deepEqual(layouts.picturesOf(without, 2), []);
  assert.deepEqual(layouts.settingsOf(without, 2), layouts.DEFAULTS);
  assert.equal(layouts.settingsOf(without, 1).prompt, "black fur");
  const fields = layouts.rewritten(without, full).map(([slot, field]) => `${field} ${slot}`);
  assert.deepEqual(fields, ["name 2", "weight 2", "prompt 2"]);
  assert.ok(layouts.same(undone(changed(begun(full), without)).present, full));
});

test("a copy has pictures, name and settings of its subject and stays inside the picture", () => {
  const first = (value, empty) => [value, ...Array(SLOTS - 1).fill(empty)];
  const mine = { ...layouts.DEFAULTS, weight: 0.5 };
  const full = { ...START, names: first("cat", ""), pictures: first(["a"], []), settings: first(mine, layouts.DEFAULTS) };
  const { layout, slot } = layouts.duplicated(full, TWO, 1, SLOTS);
  assert.deepEqual([slot, layouts.nameOf(layout, 3), layouts.picturesOf(layout, 3)], [3, "cat", ["a"]]);
  assert.equal(layouts.settingsOf(layout, 3).weight, 0.5);
  const [x0, y0, x1, y1] = layouts.boxOf(layout, 3);
  assert.deepEqual([x0, x1], [0.1125, 0.5425]);
  assert.ok(y0 >= 0 && y1 <= 1);
  assert.equal(layouts.duplicated(full, TWO, 1, 2), null);
});

test("a copied subject comes back from its text, with an automatic role and without a name", () => {
  const settings = { ...layouts.DEFAULTS, weight: 0.5, prompt: "black fur", silhouette: "data:image/png;base64,BB" };
  for (const name of ["cat", ""]) {
    const copy = { box: [0.1, 0.2, 0.4, 0.9], name, settings, pictures: ["data:image/png;base64,AA"] };
    const text = writeSubject(copy);
    assert.ok(isSubject(text));
    assert.deepEqual(readCopied(text), copy);
    const { layout, slot } = layouts.withCopy(START, TWO, readCopied(text), SLOTS);
    assert.deepEqual([slot, layouts.boxOf(layout, 3), layouts.nameOf(layout, 3)], [3, copy.box, name]);
    assert.deepEqual([layouts.settingsOf(layout, 3), layouts.picturesOf(layout, 3)], [settings, copy.pictures]);
  }
});

test("a pasted text that is no copied subject is refused", () => {
  const copy = { box: [0, 0, 1, 1], name: "cat", settings: layouts.DEFAULTS, pictures: [] };
  const right = JSON.parse(writeSubject(copy));
  const changes = [{ box: [0, 0, 0, 1] }, { weight: 3 }, { role: "king" }, { pictures: ["https://elsewhere"] }];
  changes.push({ pictures: Array(9).fill("data:") }, { silhouette: "https://elsewhere" }, { "anyms-subject": 2 }, { colour: "red" }, { name: 5 });
  for (const change of changes) {
    assert.throws(() => readCopied(JSON.stringify({ ...right, ...change })), NO_LAYOUT, JSON.stringify(change));
  }
  assert.throws(() => readCopied('{"anyms-subject":1'), NO_LAYOUT);
  const large = writeSubject({ ...copy, pictures: ["data:" + "A".repeat(2 ** 26)] });
  assert.ok(isTooLarge(large) && !isTooLarge(writeSubject(copy)));
  assert.throws(() => readCopied(large), NO_LAYOUT);
  for (const text of ["a cat", "", '{"subjects":[]}']) assert.ok(!isSubject(text));
});

test("a picture moves to another subject, or is copied there", () => {
  const some = { ...START, pictures: [["a", "b"], ["b"], ...Array(SLOTS - 2).fill([])] };
  const pictures = (layout) => [1, 2].map((slot) => layouts.picturesOf(layout, slot));
  assert.deepEqual(pictures(layouts.withPictureAt(some, 1, 0, 2, false, SLOTS)), [["b"], ["b", "a"]]);
  assert.deepEqual(pictures(layouts.withPictureAt(some, 1, 0, 2, true, SLOTS)), [["a", "b"], ["b", "a"]]);
  assert.equal(layouts.withPictureAt(some, 1, 1, 2, false, SLOTS), null); // it has this one
  assert.equal(layouts.withPictureAt(some, 1, 0, 1, false, SLOTS), null);
  const full = { ...some, pictures: [["a"], "bcdefghi".split(""), ...Array(SLOTS - 2).fill([])] };
  assert.equal(layouts.withPictureAt(full, 1, 0, 2, false, SLOTS), null);
});

test("a box takes the shape of a picture, around its middle and inside the image", () => {
  const size = { width: 1024, height: 512 };
  const shape = ([x0, y0, x1, y1]) => ((x1 - x0) * size.width) / ((y1 - y0) * size.height);
  const box = inShapeOf([0.3, 0.2, 0.5, 0.6], { width: 100, height: 100 }, size, 0);
  assert.ok(Math.abs(shape(box) - 1) < 0.01);
  assert.ok(Math.abs((box[2] - box[0]) * (box[3] - box[1]) - 0.08) < 1e-3); // as large as before
  assert.ok(Math.abs((box[0] + box[2]) / 2 - 0.4) < 1e-3 && Math.abs((box[1] + box[3]) / 2 - 0.4) < 1e-3);
  const tall = inShapeOf([0, 0, 0.9, 0.9], { width: 100, height: 300 }, size, 0);
  assert.ok(Math.abs(shape(tall) - 1 / 3) < 0.01);
  assert.deepEqual([tall[1], tall[3]], [0, 1]); // no room for as large a box
  const [x0, y0, x1, y1] = inShapeOf([0.3, 0.2, 0.5, 0.6], { width: 100, height: 100 }, size, TOKEN);
  assert.deepEqual([x0, y0].map((edge, n) => Math.round(edge * [size.width, size.height][n])), [10 * TOKEN, 3 * TOKEN]);
  assert.ok(Math.abs(shape([x0, y0, x1, y1]) - 1) < 0.01); // no grid for the other edges: the ratio counts
});

test("a locked box stays where presets move the others, also after the page was read", () => {
  const locked = layouts.withLock(START, 1, true);
  const arranged = layouts.arranged(locked, TWO, "grid");
  assert.deepEqual(layouts.boxOf(arranged, 1), layouts.boxOf(START, 1));
  assert.notDeepEqual(layouts.boxOf(arranged, 2), layouts.boxOf(START, 2));
  const values = { boxes: START.regions.map(({ box }) => box), used: [true, true], order: "" };
  const read = layouts.fromFields(values, TWO, 2, locked);
  assert.deepEqual([layouts.isLocked(read, 1), layouts.isLocked(read, 2)], [true, false]);
  assert.ok(!layouts.same(START, locked));
  assert.ok(layouts.isLocked(layouts.switched(locked, 1, true), 1));
});

test("steps of one slider are one undo step, changes of two fields are two", () => {
  const of = (weight, prompt = "") => ({ ...START, settings: [{ ...layouts.DEFAULTS, weight, prompt }, layouts.DEFAULTS] });
  assert.equal(layouts.typing(of(1.1), of(1)), "weight 1");
  assert.equal(layouts.typing(of(1.1, "a"), of(1)), "");
  assert.ok(layouts.same(of(NaN), of(NaN))); // an emptied number field
});

test("a filled slot that was removed is the last to be used again", () => {
  const facts = factsOf({ 1: "cat", 2: "dog" });
  const without = layouts.removed(START, 2);
  assert.equal(layouts.added(without, facts, SLOTS).slot, 3);
  assert.equal(layouts.added(without, facts, 2).slot, 2);
  assert.equal(layouts.added(START, facts, 2), null);
});

test("moving a layer makes the order the user's, until it is proposed again", () => {
  const up = layouts.restacked(START, TWO, 1, 1, SLOTS);
  assert.deepEqual(layouts.stacked(up, TWO), [2, 1]);
  assert.equal(layouts.restacked(up, TWO, 1, 1, SLOTS), up);
  assert.deepEqual(layouts.unordered(up), START);
});

test("a subject that is off keeps its box, covers nothing, and is not arranged", () => {
  const facts = factsOf({ 1: "cat", 2: "dog" });
  const layout = {
    regions: [
      { slot: 1, box: [0, 0, 1, 1] },
      { slot: 2, box: [0, 0, 0.5, 0.5] },
    ],
    order: null,
  };
  const off = layouts.switched(layout, 2, true);
  assert.deepEqual(layouts.stacked(off, facts), [2, 1]);
  assert.deepEqual(
    [...layouts.shares(off, facts, SIZE)],
    [
      [1, 1],
      [2, null],
    ],
  );
  assert.deepEqual(
    [layouts.isOff(off, 1), layouts.isOff(off, 2), layouts.takesPart(off, facts, 2)],
    [false, true, false],
  );
  assert.equal(layouts.same(layout, off), false);
  assert.deepEqual(layouts.switched(off, 2, false), layout);
  assert.deepEqual(layouts.boxOf(layouts.arranged(off, facts, "sideBySide"), 2), [0, 0, 0.5, 0.5]);
  assert.deepEqual(layouts.boxOf(layouts.arranged(off, facts, "sideBySide"), 1), PRESETS.sideBySide(1)[0]);
  assert.ok(layouts.isOff(layouts.withBox(off, 2, [0, 0, 1, 1]), 2));
});

test("an unused slot is off if it was shown and filled, and stays off when it is emptied", () => {
  const values = { boxes: Array(12).fill([0, 0, 0.5, 0.5]), used: Array(12).fill(true).fill(false, 1, 4), order: "" };
  const before = layouts.fromFields({ ...values, used: Array(12).fill(true) }, factsOf({ 2: "dog", 4: "hat" }), 2);
  const read = (facts, shown) => {
    const { regions } = layouts.fromFields(values, facts, 2, shown);
    return regions.map(({ slot, off }) => (off ? -slot : slot));
  };
  assert.deepEqual(read(factsOf({ 2: "dog", 4: "hat" }), before), [1, -2, -4]);
  assert.deepEqual(read(factsOf({ 4: "hat" }), before), [1, -4]); // slot 2 is empty
  assert.deepEqual(read(factsOf({ 2: "dog", 4: "hat" }), layouts.removed(before, 4)), [1, -2]);
  assert.deepEqual(read(factsOf({}), layouts.fromFields(values, factsOf({ 2: "dog" }), 2, before)), [1, -2]);
  assert.deepEqual(read(factsOf({ 2: "dog" })), [1]); // never shown
});

test("undo covers pictures", () => {
  const one = layouts.withPictures(START, 2, ["data:a"], SLOTS);
  const more = layouts.withPictures(one, 2, ["data:a", "data:b"], SLOTS);
  assert.deepEqual(
    [layouts.picturesOf(START, 2), layouts.picturesOf(more, 2), layouts.picturesOf(more, 1)],
    [[], ["data:a", "data:b"], []],
  );
  assert.deepEqual(layouts.repictured(START, more), [2]);
  assert.deepEqual(layouts.repictured(one, layouts.withPictures(START, 2, ["data:a"], SLOTS)), []);
  assert.equal(layouts.same(one, more), false);
  assert.equal(layouts.same(one, layouts.withPictures(one, 2, ["data:a"], SLOTS)), true);
  assert.deepEqual(layouts.picturesOf(layouts.arranged(more, TWO, "grid"), 2), ["data:a", "data:b"]);
});

test("undo covers names, one typed word per step", () => {
  const named = (...names) => ({ ...START, names });
  assert.deepEqual(layouts.renamed(START, named("cat", "")), [1]);
  assert.equal(layouts.same(named("cat", "dog"), named("cat", "do")), false);
  assert.equal(layouts.same(named("cat", "dog"), named("cat", "dog")), true);
  assert.equal(layouts.typing(named("cat", "dog"), named("cat", "do")), "name 2");
  assert.equal(layouts.typing(named("cat", "dog"), named("", "")), ""); // a pasted infotext
  assert.equal(layouts.typing(layouts.switched(named("cat", "dog"), 1, true), named("cat", "do")), "");
  let history = begun(named("", ""));
  for (const next of [named("c", ""), named("ca", ""), named("ca", "d")])
    history = changed(history, next, layouts.typing(next, history.present));
  assert.deepEqual(
    history.past.map(({ names }) => names),
    [
      ["", ""],
      ["ca", ""],
    ],
  );
  const values = { boxes: Array(12).fill([0, 0, 0.5, 0.5]), used: Array(12).fill(true), order: "", names: ["cat"] };
  assert.equal(layouts.nameOf(layouts.fromFields(values, TWO, 2), 1), "cat");
});

test("the topmost box wins, and a subject that takes no part covers nothing", () => {
  const facts = factsOf({ 1: "cat", 2: "straw hat", 3: "" });
  const layout = {
    regions: [
      { slot: 1, box: [0, 0, 1, 1] },
      { slot: 2, box: [0, 0, 0.5, 0.5] },
      { slot: 3, box: [0, 0, 1, 1] },
    ],
    order: null,
  };
  assert.deepEqual(layouts.stacked(layout, facts), [3, 1, 2]);
  assert.deepEqual(
    [...layouts.shares(layout, facts, { width: 512, height: 512 })],
    [
      [1, 0.75],
      [2, 1],
      [3, null],
    ],
  );
  const reordered = layouts.restacked(layout, facts, 1, 1, SLOTS);
  assert.deepEqual(
    [...layouts.shares(reordered, facts, { width: 512, height: 512 })],
    [
      [1, 1],
      [2, 0],
      [3, null],
    ],
  );
});

for (const [name, place] of Object.entries(PRESETS)) {
  test(`${name}: each of 1 to 12 subjects is visible`, () => {
    for (let count = 1; count <= 12; count++) {
      const boxes = place(count);
      assert.equal(boxes.length, count);
      const layout = { regions: boxes.map((box, n) => ({ slot: n + 1, box })), order: boxes.map((_, n) => n + 1) };
      const facts = () => ({ name: "someone", role: "auto", picture: "" });
      for (const share of layouts.shares(layout, facts, SIZE).values())
        assert.ok(share > 0.3, `${name} ${count}: ${share}`);
      assertValid(layout);
    }
  });
}

test("a background keeps the whole picture when the others are arranged", () => {
  const placed = layouts.arranged(START, factsOf({ 1: "beach", 2: "cat" }), "grid");
  assert.deepEqual(
    placed.regions.map((region) => region.box),
    [
      [0, 0, 1, 1],
      [0, 0, 1, 1],
    ],
  );
});

test("keys", () => {
  const none = { shift: false, alt: false, command: false };
  const press = (key, more = {}) => actionOf({ key, ...none, onBox: true, onStage: true, ...more });
  assert.deepEqual(press("ArrowLeft"), { does: "move", by: [-1, 0], fine: false });
  assert.deepEqual(press("ArrowDown", { shift: true, alt: true }), { does: "resize", by: [0, 1], fine: true });
  assert.deepEqual(press("]"), { does: "layer", by: 1 });
  assert.deepEqual(press("f"), { does: "fit" });
  assert.deepEqual(press("Delete"), { does: "remove" });
  assert.deepEqual(press("+", { shift: true, onBox: false }), { does: "zoom", by: 1 });
  assert.deepEqual(press("="), { does: "zoom", by: 1 });
  assert.deepEqual(press("-"), { does: "zoom", by: -1 });
  assert.deepEqual(press("0", { onBox: false }), { does: "zoom", by: 0 });
  assert.equal(press("=", { shift: true }), null); // Shift+0 of a German keyboard
  for (const more of [{ onBox: false, onStage: false }, { command: true }]) assert.equal(press("0", more), null);
  assert.deepEqual(press("z", { command: true }), { does: "undo" });
  assert.deepEqual(press("Z", { command: true, shift: true }), { does: "redo" });
  assert.deepEqual(press("y", { command: true }), { does: "redo" });
  for (const key of ["ArrowLeft", "Delete", "]"]) assert.equal(press(key, { onBox: false }), null);
  for (const key of ["Enter", "ArrowUp", "a"]) assert.equal(press(key, { command: true }), null); // keys of the host
});

test("a key held down is one undo step", () => {
  let history = begun(0);
  for (const mark of ["", "move 1", "move 1", "move 2", "", ""]) history = changed(history, history.present + 1, mark);
  assert.deepEqual(history.past, [0, 1, 3, 4, 5]);
  assert.equal(undone(history).present, 5);
});

// -- any sequence of edits --------------------------------------------------------------------------------------------

function assertValid({ regions, order }) {
  const slots = regions.map((region) => region.slot);
  assert.ok(regions.every((region) => !("off" in region) || region.off === true));
  assert.deepEqual(
    slots,
    [...new Set(slots)].sort((a, b) => a - b),
  );
  assert.ok(slots.every((slot) => slot >= 1 && slot <= SLOTS));
  if (order)
    assert.deepEqual(
      [...order].sort((a, b) => a - b),
      Array.from({ length: order.length }, (_, n) => n + 1),
    );
  for (const { box } of regions) {
    assert.ok(
      box.every((edge) => edge >= 0 && edge <= 1),
      `${box}`,
    );
    assert.ok(box[2] - box[0] > SMALLEST - 2e-4 && box[3] - box[1] > SMALLEST - 2e-4, `${box}`);
  }
}

/** Random numbers in 0..1, the same on every machine. */
function seeded(seed) {
  return () => {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    return seed / 2 ** 32;
  };
}

const NAMES = ["", "cat", "dog", "straw hat", "beach", "a cat", "mask"];
const EDITS = [
  (layout, facts, random, slot) =>
    layouts.withBox(
      layout,
      slot,
      moved(layouts.boxOf(layout, slot), [random() * 3 - 1.5, random() - 0.5], SIZE, random() < 0.5 ? TOKEN : 0),
    ),
  (layout, facts, random, slot) => {
    const edges = ["n", "ne", "e", "se", "s", "sw", "w", "nw"][Math.floor(random() * 8)];
    return layouts.withBox(
      layout,
      slot,
      resized(
        layouts.boxOf(layout, slot),
        edges,
        [random() * 3 - 1.5, random() - 0.5],
        SIZE,
        random() < 0.5 ? TOKEN : 0,
      ),
    );
  },
  (layout, facts, random, slot) =>
    layouts.withBox(layout, slot, typed(layouts.boxOf(layout, slot), Math.floor(random() * 4), random() * 140 - 20)),
  (layout, facts, random, slot) => layouts.switched(layout, slot, random() < 0.5),
  (layout, facts, random, slot) => layouts.withPictures(layout, slot, [`data:${Math.floor(random() * 4)}`], SLOTS),
  (layout, facts, random, slot) => ({
    ...layout,
    names: Array.from({ length: SLOTS }, (_, n) =>
      n + 1 === slot ? NAMES[Math.floor(random() * NAMES.length)] : layouts.nameOf(layout, n + 1),
    ),
  }),
  (layout, facts) => layouts.added(layout, facts, SLOTS)?.layout ?? layout,
  (layout, facts, random, slot) => layouts.removed(layout, slot),
  (layout, facts, random, slot) => layouts.restacked(layout, facts, slot, Math.floor(random() * 5) - 2, SLOTS),
  (layout) => layouts.unordered(layout),
  (layout, facts, random) => layouts.arranged(layout, facts, Object.keys(PRESETS)[Math.floor(random() * 4)]),
  (layout, facts, random) => applied(layout, facts, PRESETS.grid(1 + Math.floor(random() * 6)), SLOTS),
];

for (let seed = 1; seed <= 60; seed++) {
  test(`random edits, seed ${seed}: layouts stay valid, undo leads to the start and redo back`, () => {
    const random = seeded(seed);
    const names = Object.fromEntries(
      Array.from({ length: SLOTS }, (_, n) => [n + 1, NAMES[Math.floor(random() * NAMES.length)]]),
    );
    const facts = factsOf(names);
    let history = begun(START);
    const seen = [START];
    for (let step = 0; step < 60; step++) {
      const { present } = history;
      const slot = present.regions[Math.floor(random() * present.regions.length)]?.slot ?? 1;
      const before = JSON.stringify(present);
      const next = EDITS[Math.floor(random() * EDITS.length)](present, facts, random, slot);
      assert.equal(JSON.stringify(present), before); // an edit never changes its argument
      assertValid(next);
      const order = layouts.stacked(next, facts);
      assert.deepEqual(
        [...order].sort((a, b) => a - b),
        next.regions.map((region) => region.slot),
      );
      if (order.length) {
        const shares = layouts.shares(next, facts, SIZE);
        for (const share of shares.values()) assert.ok(share === null || (share >= 0 && share <= 1));
        const top = [...order].reverse().find((other) => layouts.takesPart(next, facts, other));
        if (top) assert.equal(shares.get(top), 1);
      }
      if (layouts.same(next, present)) continue;
      history = changed(history, next);
      seen.push(next);
    }
    for (const layout of [...seen].reverse()) {
      assert.deepEqual(history.present, layout);
      history = undone(history);
    }
    assert.deepEqual(history.present, START);
    for (const layout of seen.slice(1)) {
      history = redone(history);
      assert.deepEqual(history.present, layout);
    }
  });
}
