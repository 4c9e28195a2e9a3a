// Which slots are shown, where, and who lies on top: one immutable value, and what can be done with it. No page here.

import { clipped, fitted, sameBox, tokenGrid, visibleShares, WHOLE } from "./boxes.mjs?v=0.1.0";
import { allSlots, proposedOrder, readOrder, roleOf } from "./order.mjs?v=0.1.0";
import { PRESETS, sideBySide } from "./presets.mjs?v=0.1.0";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {{slot: number, box: Box}} Region */
/** @typedef {{regions: readonly Region[], order: readonly number[] | null}} Layout regions by slot; order: all slots, back to front */
/** @typedef {{name: string, role: string, picture: string}} Fact what a slot holds; the picture's address or "" */
/** @typedef {(slot: number) => Fact} Facts */
/** @typedef {{boxes: readonly (readonly number[])[], used: readonly boolean[], order: string}} Told by the page's fields, slot by slot */

/** @type {(fact: Fact) => boolean} */
export const takesPart = (fact) => fact.picture !== "" || fact.name.trim() !== "";

/** @type {(layout: Layout, slot: number) => boolean} */
export const shows = (layout, slot) => layout.regions.some((region) => region.slot === slot);

/** @type {(layout: Layout, slot: number) => Box} */
export const boxOf = (layout, slot) => layout.regions.find((region) => region.slot === slot)?.box ?? WHOLE;

/** @type {(layout: Layout, slot: number, box: Box) => Layout} */
export function withBox(layout, slot, box) {
  return { ...layout, regions: layout.regions.map((region) => (region.slot === slot ? { slot, box } : region)) };
}

/** @type {(one: Layout, other: Layout) => boolean} */
export function same(one, other) {
  const regions = one.regions.every((region, n) => region.slot === other.regions[n]?.slot && sameBox(region.box, other.regions[n].box));
  return regions && one.regions.length === other.regions.length && String(one.order) === String(other.order);
}

/**
 * The layout the page's fields tell. A used slot is shown if it is one of the first, holds something, or was shown before.
 * @param {Told} told
 * @param {Facts} facts
 * @param {number} first
 * @param {Layout} [before]
 * @returns {Layout}
 */
export function fromFields(told, facts, first, before) {
  const kept = (/** @type {number} */ slot) => slot <= first || takesPart(facts(slot)) || (before !== undefined && shows(before, slot));
  const slots = allSlots(told.boxes.length).filter((slot) => told.used[slot - 1] && kept(slot));
  const regions = slots.map((slot) => ({ slot, box: clipped(told.boxes[slot - 1]) }));
  const order = readOrder(told.order, told.boxes.length);
  return { regions, order: order === undefined ? (before?.order ?? null) : order };
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
  const empty = proposed.filter((slot) => !takesPart(facts(slot))); // covers nobody, so it is not to lie over anybody
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
  const slot = free.find((number) => !takesPart(facts(number))) ?? free[0];
  const count = layout.regions.length;
  const untouched = sideBySide(count).every((box, n) => sameBox(box, layout.regions[n].box));
  const shift = 0.04 * (count % 6);
  const regions = [...layout.regions, { slot, box: fitted([0.3 + shift, 0.25 + shift, 0.6 + shift, 0.7 + shift]) }];
  regions.sort((a, b) => a.slot - b.slot);
  const boxes = sideBySide(count + 1);
  const placed = untouched ? regions.map((region, n) => ({ slot: region.slot, box: boxes[n] })) : regions;
  return { layout: { ...layout, regions: placed }, slot };
}

/** @type {(layout: Layout, slot: number) => Layout} */
export function removed(layout, slot) {
  return shows(layout, slot) ? { ...layout, regions: layout.regions.filter((region) => region.slot !== slot) } : layout;
}

/**
 * All shown subjects put into one of the PRESETS; backgrounds take the whole picture.
 * @type {(layout: Layout, facts: Facts, preset: keyof typeof PRESETS) => Layout}
 */
export function arranged(layout, facts, preset) {
  const behind = (/** @type {Region} */ { slot }) => roleOf(facts(slot).role, facts(slot).name) === "background";
  const standing = layout.regions.filter((region) => !behind(region));
  const boxes = PRESETS[preset](standing.length);
  const regions = layout.regions.map((region) => ({ ...region, box: behind(region) ? WHOLE : boxes[standing.indexOf(region)] }));
  return { ...layout, regions };
}

/**
 * Of each shown slot the share of its box that is seen, 0 to 1; null for one that takes no part.
 * @type {(layout: Layout, facts: Facts, size: Size) => Map<number, number | null>}
 */
export function shares(layout, facts, size) {
  const taking = stacked(layout, facts).filter((slot) => takesPart(facts(slot)));
  const seen = visibleShares(
    taking.map((slot) => boxOf(layout, slot)),
    tokenGrid(size, 1),
  );
  return new Map(layout.regions.map(({ slot }) => [slot, taking.includes(slot) ? seen[taking.indexOf(slot)] : null]));
}
