// Who lies on top when nobody has said so, and how the page's field for the order is read. As lib_anyms/webui/ui/slots.py and layout.py.

import { area } from "./boxes.mjs?v=0.1.0";

/** @typedef {import("./boxes.mjs").Box} Box */

export const PROPOSED = "by role and size";
export const AS_NUMBERED = "as numbered";
export const AUTO = "auto";
export const ROLES = ["background", "subject", "attribute"]; // back to front

const ATTRIBUTES = new Set("hat cap crown helmet glasses sunglasses mask scarf tie necklace earring bag backpack".split(" "));
const BACKGROUNDS = new Set("background scene room beach street forest sky landscape city wall floor".split(" "));

/**
 * A role read off the name's last word.
 * @param {string} name
 */
export function proposedRole(name) {
  const last = name.toLowerCase().split(/\s+/).filter(Boolean).pop() ?? "";
  if (ATTRIBUTES.has(last)) return "attribute";
  return BACKGROUNDS.has(last) ? "background" : "subject";
}

/**
 * @param {string} role as the page has it
 * @param {string} name
 */
export const roleOf = (role, name) => (ROLES.includes(role) ? role : proposedRole(name));

/**
 * The numbers of subjects from back to front: by role, then smaller over larger; else as given.
 * @param {readonly {role: string, box: Box}[]} subjects
 * @returns {number[]}
 */
export function proposedOrder(subjects) {
  const rank = subjects.map(({ role, box }) => [ROLES.indexOf(role), -thousandths(box)]);
  return subjects.map((_, n) => n).sort((a, b) => rank[a][0] - rank[b][0] || rank[a][1] - rank[b][1] || a - b);
}

/** Boxes that differ by rounding are of one size. @type {(box: Box) => number} */
const thousandths = (box) => Math.floor(area(box) * 1000 + 0.3718);

/**
 * The slots' numbers from back to front, all of them; null: to be proposed; undefined: not to be understood.
 * @param {string} text
 * @param {number} slots
 * @returns {readonly number[] | null | undefined}
 */
export function readOrder(text, slots) {
  const told = text.trim();
  if (told === PROPOSED || told === "") return null;
  const words = told === AS_NUMBERED ? [] : told.split(/[\s,]+/);
  if (!words.every((word) => /^[0-9]+$/.test(word))) return undefined;
  const named = words.map(Number);
  if (new Set(named).size < named.length || named.some((slot) => slot < 1 || slot > slots)) return undefined;
  return [...named, ...allSlots(slots).filter((slot) => !named.includes(slot))];
}

/**
 * The inverse; slots that follow by themselves are left out.
 * @param {readonly number[] | null} order
 */
export function writeOrder(order) {
  if (order === null) return PROPOSED;
  const ascending = [...order].sort((a, b) => a - b);
  let named = order.length;
  while (named > 0 && writesItself(order, ascending, named - 1)) named -= 1;
  return named ? order.slice(0, named).join(" ") : AS_NUMBERED;
}

/** @type {(order: readonly number[], ascending: readonly number[], named: number) => boolean} */
function writesItself(order, ascending, named) {
  const before = new Set(order.slice(0, named));
  const rest = ascending.filter((slot) => !before.has(slot));
  return rest.every((slot, n) => slot === order[named + n]);
}

/** @type {(slots: number) => number[]} */
export const allSlots = (slots) => Array.from({ length: slots }, (_, n) => n + 1);
