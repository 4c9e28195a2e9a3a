// Which slots are shown, where, with which pictures, and who lies on top: one immutable value, and what can be done with it.
// No page here.

import { clipped, fitted, sameBox, tokenGrid, visibleShares, WHOLE } from "./boxes.mjs?v=0.1.0";
import { allSlots, proposedOrder, readOrder, roleOf } from "./order.mjs?v=0.1.0";
import { PRESETS, sideBySide } from "./presets.mjs?v=0.1.0";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./pictures.mjs").Pictures} Pictures */
/** @typedef {{slot: number, box: Box, off?: boolean}} Region off: shown, but not sent */
/**
 * @typedef {{regions: readonly Region[], order: readonly number[] | null, pictures?: readonly Pictures[], names?: readonly string[]}}
 * Layout regions by slot; order: all slots, back to front; pictures, names: of each slot, also of those that are not shown
 */
/** @typedef {{name: string, role: string, picture: string}} Fact what a slot holds; the picture's address or "" */
/** @typedef {(slot: number) => Fact} Facts */
/**
 * @typedef {{boxes: readonly (readonly number[])[], used: readonly boolean[], order: string, pictures?: readonly Pictures[],
 * names?: readonly string[]}} Told by the page's fields, slot by slot
 */

/** Whether a slot holds anything. @type {(fact: Fact) => boolean} */
export const isFilled = (fact) => fact.picture !== "" || fact.name.trim() !== "";

/** Whether a slot is a subject of what is sent. @type {(layout: Layout, facts: Facts, slot: number) => boolean} */
export const takesPart = (layout, facts, slot) => layout.regions.some((region) => region.slot === slot && !region.off) && isFilled(facts(slot));

/** @type {(layout: Layout, slot: number) => boolean} */
export const isOff = (layout, slot) => layout.regions.some((region) => region.slot === slot && Boolean(region.off));

/** @type {(layout: Layout, slot: number) => boolean} */
export const shows = (layout, slot) => layout.regions.some((region) => region.slot === slot);

/** @type {(layout: Layout, slot: number) => Box} */
export const boxOf = (layout, slot) => layout.regions.find((region) => region.slot === slot)?.box ?? WHOLE;

/** @type {(layout: Layout, slot: number, box: Box) => Layout} */
export function withBox(layout, slot, box) {
  return { ...layout, regions: layout.regions.map((region) => (region.slot === slot ? { ...region, box } : region)) };
}

/** Takes part no more, or again; it stays where it is. @type {(layout: Layout, slot: number, off: boolean) => Layout} */
export function switched(layout, slot, off) {
  return { ...layout, regions: layout.regions.map((region) => (region.slot === slot ? { slot, box: region.box, ...(off ? { off } : {}) } : region)) };
}

/** @type {(layout: Layout, slot: number) => Pictures} */
export const picturesOf = (layout, slot) => layout.pictures?.[slot - 1] ?? [];

/** @type {(layout: Layout, slot: number, pictures: Pictures, slots: number) => Layout} */
export function withPictures(layout, slot, pictures, slots) {
  return { ...layout, pictures: allSlots(slots).map((other) => (other === slot ? pictures : picturesOf(layout, other))) };
}

/** The slots whose pictures differ. @type {(one: Layout, other: Layout) => number[]} */
export function repictured(one, other) {
  const most = Math.max(one.pictures?.length ?? 0, other.pictures?.length ?? 0);
  return allSlots(most).filter((slot) => !samePictures(picturesOf(one, slot), picturesOf(other, slot)));
}

/** @type {(layout: Layout, slot: number) => string} */
export const nameOf = (layout, slot) => layout.names?.[slot - 1] ?? "";

/** The slots whose names differ. @type {(one: Layout, other: Layout) => number[]} */
export function renamed(one, other) {
  const most = Math.max(one.names?.length ?? 0, other.names?.length ?? 0);
  return allSlots(most).filter((slot) => nameOf(one, slot) !== nameOf(other, slot));
}

/** What letters typed one after the other have in common; "" where more than one name has changed. @type {(one: Layout, other: Layout) => string} */
export function typing(one, other) {
  const slots = renamed(one, other);
  return slots.length === 1 && same({ ...one, names: other.names }, other) ? `name ${slots[0]}` : "";
}

/** @type {(one: Pictures, other: Pictures) => boolean} */
const samePictures = (one, other) => one === other || (one.length === other.length && one.every((picture, n) => picture === other[n]));

/** @type {(one: Layout, other: Layout) => boolean} */
export function same(one, other) {
  const regions = one.regions.length === other.regions.length && one.regions.every((region, n) => sameRegion(region, other.regions[n]));
  return regions && String(one.order) === String(other.order) && !repictured(one, other).length && !renamed(one, other).length;
}

/** @type {(one: Region, other: Region) => boolean} */
const sameRegion = (one, other) => one.slot === other.slot && sameBox(one.box, other.box) && Boolean(one.off) === Boolean(other.off);

/**
 * The layout the page's fields tell. A used slot is shown if it is one of the first, holds something, or was shown before; one that
 * was shown, holds something and is used no more is off.
 * @param {Told} told
 * @param {Facts} facts
 * @param {number} first
 * @param {Layout} [before]
 * @returns {Layout}
 */
export function fromFields(told, facts, first, before) {
  const shown = (/** @type {number} */ slot) => before !== undefined && shows(before, slot);
  const kept = (/** @type {number} */ slot) => slot <= first || isFilled(facts(slot)) || shown(slot);
  const wasOff = (/** @type {number} */ slot) => before !== undefined && isOff(before, slot);
  const off = (/** @type {number} */ slot) => !told.used[slot - 1] && (wasOff(slot) || (shown(slot) && isFilled(facts(slot))));
  const slots = allSlots(told.boxes.length).filter((slot) => (told.used[slot - 1] ? kept(slot) : off(slot)));
  const regions = slots.map((slot) => ({ slot, box: clipped(told.boxes[slot - 1]), ...(off(slot) ? { off: true } : {}) }));
  const order = readOrder(told.order, told.boxes.length);
  return { regions, order: order === undefined ? (before?.order ?? null) : order, pictures: told.pictures, names: told.names };
}

/**
 * The shown slots from back to front.
 * @type {(layout: Layout, facts: Facts) => number[]}
 */
export function stacked(layout, facts) {
  const slots = layout.regions.map((region) => region.slot);
  if (layout.order) return layout.order.filter((slot) => slots.includes(slot));
  const told = layout.regions.map(({ slot, box }) => ({ box, role: roleOf(facts(slot).role, facts(slot).name) }));
  const proposed = proposedOrder(told).map((n) => slots[n]);
  const empty = proposed.filter((slot) => !takesPart(layout, facts, slot)); // covers nobody, so it is not to lie over anybody
  return [...empty, ...proposed.filter((slot) => !empty.includes(slot))];
}

/**
 * `slot` lies `steps` layers higher; from then on the order is the user's.
 * @type {(layout: Layout, facts: Facts, slot: number, steps: number, slots: number) => Layout}
 */
export function restacked(layout, facts, slot, steps, slots) {
  const seen = stacked(layout, facts);
  const from = seen.indexOf(slot);
  const to = Math.min(Math.max(from + steps, 0), seen.length - 1);
  if (from < 0 || from === to) return layout;
  seen.splice(to, 0, ...seen.splice(from, 1));
  return { ...layout, order: [...seen, ...allSlots(slots).filter((other) => !seen.includes(other))] };
}

/** The order is proposed again. @type {(layout: Layout) => Layout} */
export const unordered = (layout) => (layout.order ? { ...layout, order: null } : layout);

/**
 * One more slot, one that holds nothing if there is one; null when all are shown. While the others stand as first proposed they
 * make room for it, else it comes in the middle.
 * @type {(layout: Layout, facts: Facts, slots: number) => {layout: Layout, slot: number} | null}
 */
export function added(layout, facts, slots) {
  const free = allSlots(slots).filter((slot) => !shows(layout, slot));
  if (!free.length) return null;
  const slot = free.find((number) => !isFilled(facts(number))) ?? free[0];
  const count = layout.regions.length;
  const untouched = sideBySide(count).every((box, n) => sameBox(box, layout.regions[n].box));
  const shift = 0.04 * (count % 6);
  const regions = [...layout.regions, { slot, box: fitted([0.3 + shift, 0.25 + shift, 0.6 + shift, 0.7 + shift]) }];
  regions.sort((a, b) => a.slot - b.slot);
  const boxes = sideBySide(count + 1);
  const placed = untouched ? regions.map((region, n) => ({ ...region, box: boxes[n] })) : regions;
  return { layout: { ...layout, regions: placed }, slot };
}

/** @type {(layout: Layout, slot: number) => Layout} */
export function removed(layout, slot) {
  return shows(layout, slot) ? { ...layout, regions: layout.regions.filter((region) => region.slot !== slot) } : layout;
}

/**
 * All shown subjects that are not off put into one of the PRESETS; backgrounds take the whole picture.
 * @type {(layout: Layout, facts: Facts, preset: keyof typeof PRESETS) => Layout}
 */
export function arranged(layout, facts, preset) {
  const behind = (/** @type {Region} */ { slot }) => roleOf(facts(slot).role, facts(slot).name) === "background";
  const standing = layout.regions.filter((region) => !behind(region) && !region.off);
  const boxes = PRESETS[preset](standing.length);
  const place = (/** @type {Region} */ region) => boxes[standing.indexOf(region)] ?? (region.off ? region.box : WHOLE);
  const regions = layout.regions.map((region) => ({ ...region, box: place(region) }));
  return { ...layout, regions };
}

/**
 * Of each shown slot the share of its box that is seen, 0 to 1; null for one that takes no part.
 * @type {(layout: Layout, facts: Facts, size: Size) => Map<number, number | null>}
 */
export function shares(layout, facts, size) {
  const taking = stacked(layout, facts).filter((slot) => takesPart(layout, facts, slot));
  const seen = visibleShares(
    taking.map((slot) => boxOf(layout, slot)),
    tokenGrid(size, 1),
  );
  return new Map(layout.regions.map(({ slot }) => [slot, taking.includes(slot) ? seen[taking.indexOf(slot)] : null]));
}
