// The user's own arrangements: named, kept by the browser, written to and read from a file. No page here.

import { fitted } from "./boxes.mjs?v=0.1.0";
import { added, stacked } from "./layout.mjs?v=0.1.0";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./layout.mjs").Layout} Layout */
/** @typedef {import("./layout.mjs").Facts} Facts */
/** @typedef {readonly Box[]} Preset back to front, in the order of layers */
/** @typedef {Readonly<Record<string, Preset>>} Presets by name */

const VERSION = 1;
const MOST = 100;
const LONGEST = 60; // letters of a name
const SLOTS = 12;

/** What a text holds that is none, or has been damaged, is left out. @type {(text: string | null) => Presets} */
export function readPresets(text) {
  /** @type {any} */
  let given;
  try {
    given = JSON.parse(text ?? "");
  } catch {
    return {};
  }
  if (given?.version !== VERSION || typeof given.presets !== "object" || given.presets === null) return {};
  const whole = Object.entries(given.presets).filter(([name, boxes]) => isName(name) && isPreset(boxes));
  return Object.fromEntries(whole.slice(0, MOST).map(([name, boxes]) => [name.trim(), boxes.map(fitted)]));
}

/** @type {(presets: Presets) => string} */
export const writePresets = (presets) => JSON.stringify({ version: VERSION, presets }, null, 1);

/** @type {(name: string) => boolean} */
const isName = (name) => name.trim() !== "" && name.length <= LONGEST && name !== "__proto__";

/** @type {(boxes: any) => boolean} */
const isPreset = (boxes) => Array.isArray(boxes) && boxes.length > 0 && boxes.length <= SLOTS && boxes.every(isBox);

/** @type {(box: any) => boolean} */
const isBox = (box) => Array.isArray(box) && box.length === 4 && box.every(Number.isFinite);

/** With one more, in place of one of that name; null: the name is none, or there are too many. @type {(presets: Presets, name: string, preset: Preset) => Presets | null} */
export function kept(presets, name, preset) {
  const told = name.trim();
  if (!isName(told) || !isPreset(preset) || Object.keys({ ...presets, [told]: 1 }).length > MOST) return null;
  return { ...presets, [told]: preset };
}

/** @type {(presets: Presets, name: string) => Presets} */
export const dropped = (presets, name) => Object.fromEntries(Object.entries(presets).filter(([other]) => other !== name));

/** The shown boxes as a preset. @type {(layout: Layout, facts: Facts) => Preset} */
export const presetOf = (layout, facts) =>
  stacked(layout, facts).map((slot) => /** @type {import("./layout.mjs").Region} */ (layout.regions.find((region) => region.slot === slot)).box);

/**
 * The shown subjects take the preset's places, the one lying lowest the first; there are as many as it has places, and those
 * beyond stay where they are.
 * @type {(layout: Layout, facts: Facts, preset: Preset, slots: number) => Layout}
 */
export function applied(layout, facts, preset, slots) {
  let wanted = layout;
  while (wanted.regions.length < Math.min(preset.length, slots)) {
    const more = added(wanted, facts, slots);
    if (!more) break;
    wanted = more.layout;
  }
  const order = stacked(wanted, facts);
  const regions = wanted.regions.map((region) => ({ ...region, box: preset[order.indexOf(region.slot)] ?? region.box }));
  return { ...wanted, regions, order: [...order, ...Array.from({ length: slots }, (_, n) => n + 1).filter((slot) => !order.includes(slot))] };
}
