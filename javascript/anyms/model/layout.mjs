// The layout: which slots are shown, their boxes, pictures and names, and their layers. One immutable value and its
// edits.

import { clipped, fitted, sameBox, tokenGrid, visibleShares, WHOLE } from "./boxes.mjs?v=31cf827f";
import { allSlots, AUTO, proposedOrder, readOrder, roleOf } from "./order.mjs?v=31cf827f";
import { joined, without } from "./pictures.mjs?v=31cf827f";
import { freePlace, PRESETS, sideBySide } from "./presets.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./pictures.mjs").Pictures} Pictures */
/** @typedef {import("./subject-text.mjs").Copy} Copy */
/**
 * off: shown, but not sent; locked: no drag, key or preset moves it.
 * @typedef {{slot: number, box: Box, off?: boolean, locked?: boolean}} Region
 */
/** @typedef {Readonly<Record<string, string | number>>} Settings of a slot: role, weight, own prompts and so on */
/**
 * regions: by slot; order: all slots from back to front, null: the proposed order; pictures, names, settings: of every
 * slot, shown or not.
 * @typedef {{regions: readonly Region[], order: readonly number[] | null, pictures?: readonly Pictures[],
 * names?: readonly string[], settings?: readonly Settings[]}} Layout
 */
/** @typedef {{name: string, role: string, picture: string}} Fact content of a slot; `picture` is an address or "" */
/** @typedef {(slot: number) => Fact} Facts */
/** @typedef {readonly [number, number]} Point in fractions of the picture */
/**
 * Values of the page's fields, slot by slot.
 * @typedef {{boxes: readonly (readonly number[])[], used: readonly boolean[], order: string,
 * pictures?: readonly Pictures[], names?: readonly string[], settings?: readonly Settings[]}} FieldValues
 */

const NO_TEXTS = { prompt: "", avoid: "", silhouette: "" };
/** @type {Settings} As lib_anyms/webui/ui/slots.py */
export const DEFAULTS = { role: AUTO, weight: 1, start: 0, end: 1, blocks: "all", ...NO_TEXTS };

const STEP = 1 / 16; // between a subject and its copy

// -- what a layout has ------------------------------------------------------------------------------------------------

/** Whether a slot has a picture or a name. @type {(fact: Fact) => boolean} */
export const isFilled = (fact) => fact.picture !== "" || fact.name.trim() !== "";

/** Whether a slot is sent as a subject. @type {(layout: Layout, facts: Facts, slot: number) => boolean} */
export function takesPart(layout, facts, slot) {
  return layout.regions.some((region) => region.slot === slot && !region.off) && isFilled(facts(slot));
}

/** @type {(layout: Layout, slot: number) => Region | undefined} */
const regionOf = (layout, slot) => layout.regions.find((region) => region.slot === slot);

/** @type {(layout: Layout, slot: number) => boolean} */
export const isOff = (layout, slot) => Boolean(regionOf(layout, slot)?.off);

/** @type {(layout: Layout, slot: number) => boolean} */
export const isLocked = (layout, slot) => Boolean(regionOf(layout, slot)?.locked);

/** @type {(layout: Layout, slot: number) => boolean} */
export const shows = (layout, slot) => regionOf(layout, slot) !== undefined;

/** @type {(layout: Layout, slot: number) => Box} */
export const boxOf = (layout, slot) => regionOf(layout, slot)?.box ?? WHOLE;

/** @type {(layout: Layout, slot: number) => Pictures} */
export const picturesOf = (layout, slot) => layout.pictures?.[slot - 1] ?? [];

/** @type {(layout: Layout, slot: number) => string} */
export const nameOf = (layout, slot) => layout.names?.[slot - 1] ?? "";

/** @type {(layout: Layout, slot: number) => Settings} */
export const settingsOf = (layout, slot) => layout.settings?.[slot - 1] ?? DEFAULTS;

/**
 * The shown slots from back to front.
 * @type {(layout: Layout, facts: Facts) => number[]}
 */
export function stacked(layout, facts) {
  const slots = layout.regions.map((region) => region.slot);
  if (layout.order) return layout.order.filter((slot) => slots.includes(slot));
  const subjects = layout.regions.map(({ slot, box }) => ({ box, role: roleOf(facts(slot).role, facts(slot).name) }));
  const proposed = proposedOrder(subjects).map((index) => slots[index]);
  const inactive = proposed.filter((slot) => !takesPart(layout, facts, slot)); // covers nothing, so it goes to the back
  return [...inactive, ...proposed.filter((slot) => !inactive.includes(slot))];
}

/**
 * The visible share of each shown slot's box, 0 to 1; null for a slot that takes no part.
 * @type {(layout: Layout, facts: Facts, size: Size) => Map<number, number | null>}
 */
export function shares(layout, facts, size) {
  const active = stacked(layout, facts).filter((slot) => takesPart(layout, facts, slot));
  const boxes = active.map((slot) => boxOf(layout, slot));
  const visible = visibleShares(boxes, tokenGrid(size, 1));
  return new Map(layout.regions.map(({ slot }) => [slot, visible[active.indexOf(slot)] ?? null]));
}

// -- two layouts compared ---------------------------------------------------------------------------------------------

/** @type {(one: Layout, other: Layout) => boolean} */
export function same(one, other) {
  if (one.regions.length !== other.regions.length) return false;
  const regions = one.regions.every((region, n) => sameRegion(region, other.regions[n]));
  const order = String(one.order) === String(other.order);
  return regions && order && !repictured(one, other).length && !rewritten(one, other).length;
}

/** @type {(one: Region, other: Region) => boolean} */
function sameRegion(one, other) {
  const flags = Boolean(one.off) === Boolean(other.off) && Boolean(one.locked) === Boolean(other.locked);
  return one.slot === other.slot && sameBox(one.box, other.box) && flags;
}

/** The slots whose pictures differ. @type {(one: Layout, other: Layout) => number[]} */
export function repictured(one, other) {
  const count = Math.max(one.pictures?.length ?? 0, other.pictures?.length ?? 0);
  return allSlots(count).filter((slot) => !samePictures(picturesOf(one, slot), picturesOf(other, slot)));
}

/** @type {(one: Pictures, other: Pictures) => boolean} */
export function samePictures(one, other) {
  return one === other || (one.length === other.length && one.every((picture, n) => picture === other[n]));
}

/** The slots whose names differ. @type {(one: Layout, other: Layout) => number[]} */
export function renamed(one, other) {
  const count = Math.max(one.names?.length ?? 0, other.names?.length ?? 0);
  return allSlots(count).filter((slot) => nameOf(one, slot) !== nameOf(other, slot));
}

/**
 * The names and settings that differ: [slot, field, value in `one`].
 * @type {(one: Layout, other: Layout) => [number, string, string | number][]}
 */
export function rewritten(one, other) {
  /** @type {[number, string, string | number][]} */
  const changes = renamed(one, other).map((slot) => [slot, "name", nameOf(one, slot)]);
  for (const slot of allSlots(Math.max(one.settings?.length ?? 0, other.settings?.length ?? 0))) {
    const [mine, theirs] = [settingsOf(one, slot), settingsOf(other, slot)];
    if (mine === theirs) continue;
    for (const field of Object.keys(mine)) {
      if (!Object.is(mine[field], theirs[field])) changes.push([slot, field, mine[field]]);
    }
  }
  return changes;
}

/**
 * The history mark that joins letters typed one after another, or steps of a slider, into one undo step; "" unless one
 * field is the only change.
 * @type {(one: Layout, other: Layout) => string}
 */
export function typing(one, other) {
  const changes = rewritten(one, other);
  if (changes.length !== 1 || !same({ ...one, names: other.names, settings: other.settings }, other)) return "";
  const [slot, field] = changes[0];
  return `${field} ${slot}`;
}

// -- from the page's fields -------------------------------------------------------------------------------------------

/**
 * The layout of the page's fields. A used slot is shown if it is among the `first` slots, filled, or shown in `before`.
 * An unused slot is shown as off if it was off, or if it was shown and is filled.
 * @param {FieldValues} values
 * @param {Facts} facts
 * @param {number} first
 * @param {Layout} [before]
 * @returns {Layout}
 */
export function fromFields(values, facts, first, before) {
  /** @type {Region[]} */
  const regions = [];
  for (const slot of allSlots(values.boxes.length)) {
    const box = clipped(values.boxes[slot - 1]);
    const shown = before !== undefined && shows(before, slot);
    const wasOff = before !== undefined && isOff(before, slot);
    const filled = isFilled(facts(slot));
    const used = values.used[slot - 1];
    const locked = before !== undefined && isLocked(before, slot) ? { locked: true } : {};
    if (used && (slot <= first || filled || shown)) regions.push({ slot, box, ...locked });
    if (!used && (wasOff || (shown && filled))) regions.push({ slot, box, off: true, ...locked });
  }
  const order = readOrder(values.order, values.boxes.length);
  const known = order === undefined ? (before?.order ?? null) : order; // an invalid text changes nothing
  return { regions, order: known, pictures: values.pictures, names: values.names, settings: values.settings };
}

// -- edits ------------------------------------------------------------------------------------------------------------

/** @type {(layout: Layout, slot: number, change: (region: Region) => Region) => Layout} */
function withRegion(layout, slot, change) {
  return { ...layout, regions: layout.regions.map((region) => (region.slot === slot ? change(region) : region)) };
}

/** @type {(layout: Layout, slot: number, box: Box) => Layout} */
export const withBox = (layout, slot, box) => withRegion(layout, slot, (region) => ({ ...region, box }));

/** Switches a subject off or on; its box stays. @type {(layout: Layout, slot: number, off: boolean) => Layout} */
export function switched(layout, slot, off) {
  return withRegion(layout, slot, ({ off: _, ...region }) => (off ? { ...region, off } : region));
}

/** Fixes a subject's box, or frees it. @type {(layout: Layout, slot: number, locked: boolean) => Layout} */
export function withLock(layout, slot, locked) {
  return withRegion(layout, slot, ({ locked: _, ...region }) => (locked ? { ...region, locked } : region));
}

/** @type {(layout: Layout, slot: number, pictures: Pictures, slots: number) => Layout} */
export function withPictures(layout, slot, pictures, slots) {
  const all = allSlots(slots).map((other) => (other === slot ? pictures : picturesOf(layout, other)));
  return { ...layout, pictures: all };
}

/** @type {(layout: Layout, slot: number, name: string, slots: number) => Layout} */
export function withName(layout, slot, name, slots) {
  return { ...layout, names: allSlots(slots).map((other) => (other === slot ? name : nameOf(layout, other))) };
}

/** @type {(layout: Layout, slot: number, changes: Settings, slots: number) => Layout} */
export function withSettings(layout, slot, changes, slots) {
  const changed = { ...settingsOf(layout, slot), ...changes };
  const settings = allSlots(slots).map((other) => (other === slot ? changed : settingsOf(layout, other)));
  return { ...layout, settings };
}

/**
 * Moves `slot` up by `steps` layers. The order is the user's from then on.
 * @type {(layout: Layout, facts: Facts, slot: number, steps: number, slots: number) => Layout}
 */
export function restacked(layout, facts, slot, steps, slots) {
  const order = stacked(layout, facts);
  const from = order.indexOf(slot);
  const to = Math.min(Math.max(from + steps, 0), order.length - 1);
  if (from < 0 || from === to) return layout;
  order.splice(to, 0, ...order.splice(from, 1));
  return { ...layout, order: [...order, ...allSlots(slots).filter((other) => !order.includes(other))] };
}

/** Returns to the proposed order. @type {(layout: Layout) => Layout} */
export const unordered = (layout) => (layout.order ? { ...layout, order: null } : layout);

/**
 * Shows one more slot, an empty one if there is one; null when all are shown. If the others are side by side as first
 * proposed, all boxes are placed side by side again; otherwise the new box goes where it covers least of the others.
 * @type {(layout: Layout, facts: Facts, slots: number) => {layout: Layout, slot: number} | null}
 */
export function added(layout, facts, slots) {
  const free = allSlots(slots).filter((slot) => !shows(layout, slot));
  if (!free.length) return null;
  const slot = free.find((other) => !isFilled(facts(other))) ?? free[0];
  const count = layout.regions.length;
  const untouched = sideBySide(count).every((box, n) => sameBox(box, layout.regions[n].box));
  const regions = [...layout.regions, { slot, box: freePlace(layout.regions.map(({ box }) => box)) }];
  regions.sort((a, b) => a.slot - b.slot);
  const boxes = sideBySide(count + 1);
  const placed = untouched ? regions.map((region, n) => ({ ...region, box: boxes[n] })) : regions;
  return { layout: { ...layout, regions: placed }, slot };
}

/**
 * Takes a subject away with all it has: nothing of it, such as its own prompt, may return with the slot's next subject.
 * @type {(layout: Layout, slot: number) => Layout}
 */
export function removed(layout, slot) {
  if (!shows(layout, slot)) return layout;
  /** @type {<T>(values: readonly T[] | undefined, empty: T) => T[] | undefined} */
  const cleared = (values, empty) => values?.map((value, n) => (n === slot - 1 ? empty : value));
  return {
    ...layout,
    regions: layout.regions.filter((region) => region.slot !== slot),
    pictures: cleared(layout.pictures, /** @type {Pictures} */ ([])),
    names: cleared(layout.names, ""),
    settings: cleared(layout.settings, DEFAULTS),
  };
}

/**
 * Shows one more slot with a copy of a subject, beside it; null when all are shown.
 * @type {(layout: Layout, facts: Facts, slot: number, slots: number) => {layout: Layout, slot: number} | null}
 */
export function duplicated(layout, facts, slot, slots) {
  return withCopy(layout, facts, copyOf(layout, slot), slots);
}

/** All that a copy of a subject has. @type {(layout: Layout, slot: number) => Copy} */
export function copyOf(layout, slot) {
  const [name, settings] = [nameOf(layout, slot), settingsOf(layout, slot)];
  return { box: boxOf(layout, slot), name, settings, pictures: picturesOf(layout, slot) };
}

/**
 * Shows one more slot with a copied subject: where it was, or beside that where a subject has the same box; null when
 * all are shown.
 * @type {(layout: Layout, facts: Facts, copy: Copy, slots: number) => {layout: Layout, slot: number} | null}
 */
export function withCopy(layout, facts, { box, name, settings, pictures }, slots) {
  const more = added(layout, facts, slots);
  if (!more) return null;
  const { slot } = more;
  const taken = layout.regions.some((region) => sameBox(region.box, box));
  let copy = withNew(layout, slot, taken ? shifted(box) : fitted(box));
  copy = withPictures(copy, slot, pictures, slots);
  copy = withName(copy, slot, name, slots);
  return { layout: withSettings(copy, slot, settings, slots), slot };
}

/** A box beside another one, so that both are seen. @type {(box: Box) => Box} */
function shifted([x0, y0, x1, y1]) {
  /** @type {(low: number, high: number) => number} */
  const shift = (low, high) => (high + STEP <= 1 ? STEP : -Math.min(STEP, low));
  const [dx, dy] = [shift(x0, x1), shift(y0, y1)];
  return fitted([x0 + dx, y0 + dy, x1 + dx, y1 + dy]);
}

/**
 * Moves or copies picture `n` of one subject to another one; null where that one is full or has it already.
 * @type {(layout: Layout, from: number, n: number, to: number, keep: boolean, slots: number) => Layout | null}
 */
export function withPictureAt(layout, from, n, to, keep, slots) {
  const [mine, theirs] = [picturesOf(layout, from), picturesOf(layout, to)];
  const { pictures } = joined(theirs, [mine[n]]);
  if (from === to || pictures.length === theirs.length) return null;
  const placed = withPictures(layout, to, pictures, slots);
  return keep ? placed : withPictures(placed, from, without(mine, n), slots);
}

/**
 * The slots whose boxes have a point, topmost first.
 * @type {(layout: Layout, facts: Facts, point: Point) => number[]}
 */
export function slotsUnder(layout, facts, [x, y]) {
  const under = stacked(layout, facts).filter((slot) => {
    const [x0, y0, x1, y1] = boxOf(layout, slot);
    return x0 <= x && x < x1 && y0 <= y && y < y1;
  });
  return under.reverse();
}

/** Shows a slot with this box. @type {(layout: Layout, slot: number, box: Box) => Layout} */
export function withNew(layout, slot, box) {
  const regions = [...layout.regions, { slot, box }].sort((a, b) => a.slot - b.slot);
  return { ...layout, regions };
}

/**
 * The slot that takes a file dropped at a point: an empty one first, else the topmost; 0: none.
 * @type {(layout: Layout, facts: Facts, point: Point) => number}
 */
export function slotAt(layout, facts, point) {
  const under = slotsUnder(layout, facts, point);
  return under.find((slot) => facts(slot).picture === "") ?? under[0] ?? 0;
}

/**
 * Arranges the shown subjects by one of the PRESETS. A background takes the whole picture; a subject that is off stays.
 * @type {(layout: Layout, facts: Facts, preset: keyof typeof PRESETS) => Layout}
 */
export function arranged(layout, facts, preset) {
  const isBackground = (/** @type {number} */ slot) => roleOf(facts(slot).role, facts(slot).name) === "background";
  const stays = (/** @type {Region} */ region) => region.off || region.locked;
  const standing = layout.regions.filter((region) => !isBackground(region.slot) && !stays(region));
  const boxes = PRESETS[preset](standing.length);
  const regions = layout.regions.map((region) => {
    const fallback = stays(region) ? region.box : WHOLE;
    return { ...region, box: boxes[standing.indexOf(region)] ?? fallback };
  });
  return { ...layout, regions };
}
