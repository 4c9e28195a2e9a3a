// The layout: which slots are shown, their boxes, pictures and names, and their layers. One immutable value and its
// edits.

import { clipped, fitted, sameBox, tokenGrid, visibleShares, WHOLE } from "./boxes.mjs?v=89aa7310";
import { allSlots, proposedOrder, readOrder, roleOf } from "./order.mjs?v=89aa7310";
import { PRESETS, sideBySide } from "./presets.mjs?v=89aa7310";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./pictures.mjs").Pictures} Pictures */
/** @typedef {{slot: number, box: Box, off?: boolean}} Region off: shown, but not sent */
/**
 * regions: by slot; order: all slots from back to front, null: the proposed order; pictures, names: of every slot,
 * shown or not.
 * @typedef {{regions: readonly Region[], order: readonly number[] | null, pictures?: readonly Pictures[],
 * names?: readonly string[]}} Layout
 */
/** @typedef {{name: string, role: string, picture: string}} Fact content of a slot; `picture` is an address or "" */
/** @typedef {(slot: number) => Fact} Facts */
/**
 * Values of the page's fields, slot by slot.
 * @typedef {{boxes: readonly (readonly number[])[], used: readonly boolean[], order: string,
 * pictures?: readonly Pictures[], names?: readonly string[]}} FieldValues
 */

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
export const shows = (layout, slot) => regionOf(layout, slot) !== undefined;

/** @type {(layout: Layout, slot: number) => Box} */
export const boxOf = (layout, slot) => regionOf(layout, slot)?.box ?? WHOLE;

/** @type {(layout: Layout, slot: number) => Pictures} */
export const picturesOf = (layout, slot) => layout.pictures?.[slot - 1] ?? [];

/** @type {(layout: Layout, slot: number) => string} */
export const nameOf = (layout, slot) => layout.names?.[slot - 1] ?? "";

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
  return regions && order && !repictured(one, other).length && !renamed(one, other).length;
}

/** @type {(one: Region, other: Region) => boolean} */
function sameRegion(one, other) {
  return one.slot === other.slot && sameBox(one.box, other.box) && Boolean(one.off) === Boolean(other.off);
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
 * The history mark that joins letters typed one after another into one undo step; "" unless one name is the only
 * change.
 * @type {(one: Layout, other: Layout) => string}
 */
export function typing(one, other) {
  const slots = renamed(one, other);
  return slots.length === 1 && same({ ...one, names: other.names }, other) ? `name ${slots[0]}` : "";
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
    if (used && (slot <= first || filled || shown)) regions.push({ slot, box });
    if (!used && (wasOff || (shown && filled))) regions.push({ slot, box, off: true });
  }
  const order = readOrder(values.order, values.boxes.length);
  const known = order === undefined ? (before?.order ?? null) : order; // an invalid text changes nothing
  return { regions, order: known, pictures: values.pictures, names: values.names };
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
  return withRegion(layout, slot, ({ box }) => (off ? { slot, box, off } : { slot, box }));
}

/** @type {(layout: Layout, slot: number, pictures: Pictures, slots: number) => Layout} */
export function withPictures(layout, slot, pictures, slots) {
  const all = allSlots(slots).map((other) => (other === slot ? pictures : picturesOf(layout, other)));
  return { ...layout, pictures: all };
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
 * proposed, all boxes are placed side by side again; otherwise the new box goes near the middle.
 * @type {(layout: Layout, facts: Facts, slots: number) => {layout: Layout, slot: number} | null}
 */
export function added(layout, facts, slots) {
  const free = allSlots(slots).filter((slot) => !shows(layout, slot));
  if (!free.length) return null;
  const slot = free.find((other) => !isFilled(facts(other))) ?? free[0];
  const count = layout.regions.length;
  const untouched = sideBySide(count).every((box, n) => sameBox(box, layout.regions[n].box));
  const shift = 0.04 * (count % 6); // so that several new boxes do not hide each other
  const regions = [...layout.regions, { slot, box: fitted([0.3 + shift, 0.25 + shift, 0.6 + shift, 0.7 + shift]) }];
  regions.sort((a, b) => a.slot - b.slot);
  const boxes = sideBySide(count + 1);
  const placed = untouched ? regions.map((region, n) => ({ ...region, box: boxes[n] })) : regions;
  return { layout: { ...layout, regions: placed }, slot };
}

/** @type {(layout: Layout, slot: number) => Layout} */
export function removed(layout, slot) {
  if (!shows(layout, slot)) return layout;
  return { ...layout, regions: layout.regions.filter((region) => region.slot !== slot) };
}

/**
 * Arranges the shown subjects by one of the PRESETS. A background takes the whole picture; a subject that is off stays.
 * @type {(layout: Layout, facts: Facts, preset: keyof typeof PRESETS) => Layout}
 */
export function arranged(layout, facts, preset) {
  const isBackground = (/** @type {number} */ slot) => roleOf(facts(slot).role, facts(slot).name) === "background";
  const standing = layout.regions.filter((region) => !isBackground(region.slot) && !region.off);
  const boxes = PRESETS[preset](standing.length);
  const regions = layout.regions.map((region) => {
    const fallback = region.off ? region.box : WHOLE;
    return { ...region, box: boxes[standing.indexOf(region)] ?? fallback };
  });
  return { ...layout, regions };
}
