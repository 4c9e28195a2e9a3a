// The user's saved arrangements: named boxes that the browser stores and that travel as a file.

import { fitted } from "./boxes.mjs?v=31cf827f";
import { added, stacked } from "./layout.mjs?v=31cf827f";
import { allSlots } from "./order.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./layout.mjs").Layout} Layout */
/** @typedef {import("./layout.mjs").Facts} Facts */
/** @typedef {readonly Box[]} Preset boxes from back to front */
/** @typedef {Readonly<Record<string, Preset>>} Presets by name */

const VERSION = 1;
export const MAX_PRESETS = 100;
const MAX_NAME = 60; // letters
const MAX_BOXES = 12;

/**
 * Valid presets of a text, even more than MAX_PRESETS. Invalid ones are left out.
 * @type {(text: string | null) => Presets}
 */
export function readPresets(text) {
  /** @type {any} */
  let content;
  try {
    content = JSON.parse(text ?? "");
  } catch {
    return {};
  }
  const stored = content?.presets;
  if (content?.version !== VERSION || typeof stored !== "object" || stored === null) return {};
  const valid = Object.entries(stored).filter(([name, boxes]) => isName(name) && isPreset(boxes));
  return Object.fromEntries(valid.map(([name, boxes]) => [name.trim(), boxes.map(fitted)]));
}

/** @type {(presets: Presets) => string} */
export const writePresets = (presets) => JSON.stringify({ version: VERSION, presets }, null, 1);

/** @type {(name: string) => boolean} */
const isName = (name) => name.trim() !== "" && name.length <= MAX_NAME && name !== "__proto__";

/** @type {(boxes: any) => boolean} */
function isPreset(boxes) {
  return Array.isArray(boxes) && boxes.length > 0 && boxes.length <= MAX_BOXES && boxes.every(isBox);
}

/** @type {(box: any) => boolean} */
const isBox = (box) => Array.isArray(box) && box.length === 4 && box.every(Number.isFinite);

/**
 * `presets` with one more, which replaces one of the same name. null: the name or the preset is invalid, or there are
 * too many.
 * @type {(presets: Presets, name: string, preset: Preset) => Presets | null}
 */
export function withPreset(presets, name, preset) {
  const key = name.trim();
  if (!isName(key) || !isPreset(preset)) return null;
  const all = { ...presets, [key]: preset };
  return Object.keys(all).length > MAX_PRESETS ? null : all;
}

/**
 * The user's `own` presets and those of a file. None of the user's is lost: a preset of the file that has the name of
 * another one gets a new name, and `rejected` counts those beyond MAX_PRESETS.
 * @type {(own: Presets, file: Presets) => {presets: Presets, added: number, rejected: number}}
 */
export function merged(own, file) {
  /** @type {Record<string, Preset>} */
  const presets = { ...own };
  let [added, rejected] = [0, 0];
  for (const [name, preset] of Object.entries(file)) {
    if (JSON.stringify(own[name]) === JSON.stringify(preset)) continue;
    if (Object.keys(presets).length >= MAX_PRESETS) rejected += 1;
    else {
      presets[freeName(presets, name)] = preset;
      added += 1;
    }
  }
  return { presets, added, rejected };
}

/** `name`, or "name (2)", "name (3)", ... if that is taken. @type {(presets: Presets, name: string) => string} */
function freeName(presets, name) {
  let free = name;
  for (let n = 2; Object.hasOwn(presets, free); n++) {
    const suffix = ` (${n})`;
    free = name.slice(0, MAX_NAME - suffix.length) + suffix;
  }
  return free;
}

/** @type {(presets: Presets, name: string) => Presets} */
export function withoutPreset(presets, name) {
  return Object.fromEntries(Object.entries(presets).filter(([other]) => other !== name));
}

/** The boxes of the layout as a preset. @type {(layout: Layout, facts: Facts) => Preset} */
export function presetOf(layout, facts) {
  const boxes = new Map(layout.regions.map(({ slot, box }) => [slot, box]));
  return stacked(layout, facts).map((slot) => /** @type {Box} */ (boxes.get(slot)));
}

/**
 * Puts the shown subjects into the boxes of `preset`, the lowest layer first. Adds subjects until each box has one;
 * subjects beyond the last box stay where they are.
 * @type {(layout: Layout, facts: Facts, preset: Preset, slots: number) => Layout}
 */
export function applied(layout, facts, preset, slots) {
  const enough = withRegions(layout, facts, Math.min(preset.length, slots), slots);
  const order = stacked(enough, facts);
  const regions = enough.regions.map((region) => ({
    ...region,
    box: preset[order.indexOf(region.slot)] ?? region.box,
  }));
  const rest = allSlots(slots).filter((slot) => !order.includes(slot));
  return { ...enough, regions, order: [...order, ...rest] };
}

/**
 * `layout` with at least `count` regions.
 * @type {(layout: Layout, facts: Facts, count: number, slots: number) => Layout}
 */
function withRegions(layout, facts, count, slots) {
  let enough = layout;
  while (enough.regions.length < count) {
    const more = added(enough, facts, slots);
    if (!more) break;
    enough = more.layout;
  }
  return enough;
}
