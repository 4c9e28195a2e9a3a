// The layout that the browser keeps between two openings of the page. What is read back may be of any version.

import { fitted } from "./boxes.mjs?v=31cf827f";
import { DEFAULTS, takesPart } from "./layout.mjs?v=31cf827f";
import { allSlots, readOrder } from "./order.mjs?v=31cf827f";
import { MAX_PICTURES } from "./pictures.mjs?v=31cf827f";

/** @typedef {import("./layout.mjs").Layout} Layout */
/** @typedef {import("./layout.mjs").Region} Region */
/** @typedef {import("./layout.mjs").Settings} Settings */
/** @typedef {{version: number, layout: Layout}} Draft */

const VERSION = 1;
const LARGEST = 64 * 2 ** 20; // letters of all pictures; a layout with more is kept without its pictures

/** @type {(layout: Layout) => Draft} */
export function draftOf(layout) {
  const letters = (layout.pictures ?? []).flat().reduce((sum, picture) => sum + picture.length, 0);
  const kept = letters <= LARGEST ? layout : { ...layout, pictures: layout.pictures?.map(() => []) };
  return { version: VERSION, layout: kept };
}

/** How many subjects a layout has that have a picture or a name. @type {(layout: Layout) => number} */
export function countOf(layout) {
  const facts = (/** @type {number} */ slot) => ({
    name: layout.names?.[slot - 1] ?? "",
    role: "",
    picture: layout.pictures?.[slot - 1]?.[0] ?? "",
  });
  const on = layout.regions.map(({ off: _, ...region }) => region);
  return on.filter(({ slot }) => takesPart({ ...layout, regions: on }, facts, slot)).length;
}

/** The layout of a kept draft; null if it is none. @type {(value: any, slots: number) => Layout | null} */
export function readDraft(value, slots) {
  const layout = value?.version === VERSION ? value.layout : null;
  if (!Array.isArray(layout?.regions)) return null;
  const known = layout.regions.filter((/** @type {any} */ region) => isRegion(region, slots));
  /** @type {Region[]} */
  const regions = known.map((/** @type {any} */ { slot, box, off, locked }) => {
    return { slot, box: fitted(box), ...(off === true && { off }), ...(locked === true && { locked }) };
  });
  if (!regions.length || new Set(regions.map(({ slot }) => slot)).size < regions.length) return null;
  return {
    regions: regions.sort((a, b) => a.slot - b.slot),
    order: Array.isArray(layout.order) ? (readOrder(layout.order.join(" "), slots) ?? null) : null,
    pictures: allSlots(slots).map((slot) => picturesIn(layout.pictures?.[slot - 1])),
    names: allSlots(slots).map((slot) => textOf(layout.names?.[slot - 1])),
    settings: allSlots(slots).map((slot) => settingsIn(layout.settings?.[slot - 1])),
  };
}

/** @type {(region: any, slots: number) => boolean} */
function isRegion(region, slots) {
  const { slot, box } = region ?? {};
  const known = Number.isInteger(slot) && slot >= 1 && slot <= slots;
  return known && Array.isArray(box) && box.length === 4 && box.every(Number.isFinite);
}

/** @type {(value: any) => string[]} */
function picturesIn(value) {
  const pictures = Array.isArray(value) ? value : [];
  const data = pictures.filter((picture) => typeof picture === "string" && picture.startsWith("data:"));
  return data.slice(0, MAX_PICTURES);
}

/** @type {(value: any) => string} */
const textOf = (value) => (typeof value === "string" ? value : "");

/** Values of the right type; others become the default. @type {(value: any) => Settings} */
function settingsIn(value) {
  /** @type {Record<string, string | number>} */
  const settings = {};
  for (const [name, fallback] of Object.entries(DEFAULTS)) {
    const right = typeof value?.[name] === typeof fallback && !Number.isNaN(value[name]);
    settings[name] = right ? value[name] : fallback;
  }
  return settings;
}
