// The proposed layer order, and the text of the page's order field, as lib_anyms/webui/ui/slots.py and layout.py.

import { area } from "./boxes.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Box} Box */

export const PROPOSED = "by role and size";
export const AS_NUMBERED = "as numbered";
export const AUTO = "auto";
export const ROLES = ["background", "subject", "attribute"]; // back to front

const ATTRIBUTES = new Set(
  "hat cap crown helmet glasses sunglasses mask scarf tie necklace earring bag backpack".split(" "),
);
const BACKGROUNDS = new Set("background scene room beach street forest sky landscape city wall floor".split(" "));

// What follows one of these describes the subject: "girl with a red hat" is a girl.
const LINKS = new Set(", with in on at of by near wearing holding carrying under and".split(" "));

/** The noun that names the subject: the last word before the first link. @type {(name: string) => string} */
function headOf(name) {
  const words = name.toLowerCase().replaceAll(",", " , ").split(/\s+/).filter(Boolean);
  const first = words.findIndex((word) => !LINKS.has(word));
  const head = words.slice(Math.max(0, first));
  const end = head.findIndex((word) => LINKS.has(word));
  return (end < 0 ? head : head.slice(0, end)).pop() ?? "";
}

/** The role that the name's noun suggests. @type {(name: string) => string} */
export function proposedRole(name) {
  const head = headOf(name);
  if (ATTRIBUTES.has(head)) return "attribute";
  return BACKGROUNDS.has(head) ? "background" : "subject";
}

/**
 * The role a subject gets: the chosen one, or the one its name suggests.
 * @param {string} role value of the page's field
 * @param {string} name
 */
export const roleOf = (role, name) => (ROLES.includes(role) ? role : proposedRole(name));

/**
 * Indices of subjects from back to front: by role, then smaller over larger, then in the given order.
 * @param {readonly {role: string, box: Box}[]} subjects
 * @returns {number[]}
 */
export function proposedOrder(subjects) {
  const ranks = subjects.map(({ role, box }) => [ROLES.indexOf(role), -thousandths(box)]);
  const indices = subjects.map((_, index) => index);
  return indices.sort((a, b) => ranks[a][0] - ranks[b][0] || ranks[a][1] - ranks[b][1] || a - b);
}

/** A box's area, coarse enough that rounding its edges does not change it. @type {(box: Box) => number} */
const thousandths = (box) => Math.floor(area(box) * 1000 + 0.3718);

/**
 * All slots from back to front; null: the order is proposed; undefined: the text is no order.
 * @param {string} text
 * @param {number} slots
 * @returns {readonly number[] | null | undefined}
 */
export function readOrder(text, slots) {
  const value = text.trim();
  if (value === PROPOSED || value === "") return null;
  const words = value === AS_NUMBERED ? [] : value.split(/[\s,]+/);
  if (!words.every((word) => /^[0-9]+$/.test(word))) return undefined;
  const named = words.map(Number);
  if (new Set(named).size < named.length || named.some((slot) => slot < 1 || slot > slots)) return undefined;
  return [...named, ...allSlots(slots).filter((slot) => !named.includes(slot))];
}

/**
 * Inverse of readOrder. Leaves out trailing slots that readOrder adds in the same order.
 * @param {readonly number[] | null} order
 */
export function writeOrder(order) {
  if (order === null) return PROPOSED;
  const ascending = [...order].sort((a, b) => a - b);
  let named = order.length;
  while (named > 0 && followsByItself(order, ascending, named - 1)) named -= 1;
  return named ? order.slice(0, named).join(" ") : AS_NUMBERED;
}

/** Whether readOrder restores the slots after the first `named` ones.
 * @type {(order: readonly number[], ascending: readonly number[], named: number) => boolean} */
function followsByItself(order, ascending, named) {
  const before = new Set(order.slice(0, named));
  const rest = ascending.filter((slot) => !before.has(slot));
  return rest.every((slot, n) => slot === order[named + n]);
}

/** 1 to `slots`. @type {(slots: number) => number[]} */
export const allSlots = (slots) => Array.from({ length: slots }, (_, n) => n + 1);
