// Layout files (docs/layout.md), read and refused as lib_anyms/layout/layout.py reads and refuses them.

import { ROLES } from "./order.mjs?v=0.1.0";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {{name: string, box: Box, role: string, weight: number, start: number, end: number, blocks: string}} Subject */
/** @typedef {{fallback: string | number, low?: number, high?: number, choices?: readonly string[]}} Rule */

const VERSION = 1;
const MOST = 12;
/** @type {Record<string, Rule>} */
const RULES = {
  name: { fallback: "", high: 80 },
  role: { fallback: "subject", choices: ROLES },
  weight: { fallback: 1, low: 0, high: 2 },
  start: { fallback: 0, low: 0, high: 1 },
  end: { fallback: 1, low: 0, high: 1 },
  blocks: { fallback: "all", choices: ["all", "style", "composition"] },
};
const IGNORED = ["box", "pictures", "card"]; // the hashes of an infotext may stay

/** Why a file is no layout: `cause` is a name of lib_anyms/errors.py. */
export class NoLayout extends Error {
  /** @param {string} cause @param {string} where */
  constructor(cause, where) {
    super(where ? `${cause}: ${where}` : cause);
    this.cause = cause;
    this.where = where;
  }
}

/** Subjects back to front. Throws NoLayout. @type {(text: string) => Subject[]} */
export function readLayout(text) {
  /** @type {any} */
  let given;
  try {
    given = JSON.parse(text);
  } catch {
    throw new NoLayout("layout_form", "");
  }
  if (!isObject(given) || !Array.isArray(given.subjects)) throw new NoLayout("layout_form", "");
  if (given.version !== VERSION) throw new NoLayout("layout_version", "");
  const subjects = given.subjects.map((/** @type {any} */ subject, /** @type {number} */ n) => readSubject(subject, `subject ${n + 1}`));
  if (subjects.length < 1 || subjects.length > MOST) throw new NoLayout("subject_count", String(subjects.length));
  return subjects;
}

/** @type {(given: any, where: string) => Subject} */
function readSubject(given, where) {
  if (!isObject(given)) throw new NoLayout("field_type", where);
  if (!("box" in given)) throw new NoLayout("field_missing", `box of ${where}`);
  const unknown = Object.keys(given).find((name) => !(name in RULES) && !IGNORED.includes(name));
  if (unknown !== undefined) throw new NoLayout("field_unknown", `${unknown} of ${where}`);
  const values = Object.entries(RULES).map(([name, rule]) => [name, readField(given[name] ?? absent(given, name, rule), rule, `${name} of ${where}`)]);
  const subject = { ...Object.fromEntries(values), box: readBox(given.box, where) };
  if (subject.start >= subject.end) throw new NoLayout("subject_window", where);
  return { ...subject, name: subject.name || where };
}

/** null is a value, and a wrong one. @type {(given: any, name: string, rule: Rule) => unknown} */
const absent = (given, name, rule) => (name in given ? null : rule.fallback);

/** @type {(value: unknown, rule: Rule, where: string) => string | number} */
function readField(value, rule, where) {
  if (rule.choices) {
    if (typeof value !== "string" || !rule.choices.includes(value)) throw new NoLayout("field_choice", where);
    return value;
  }
  if (typeof value !== typeof rule.fallback) throw new NoLayout("field_type", where);
  if (typeof value === "string") {
    if ([...value].some((letter) => /^[\ud800-\udfff]$/.test(letter))) throw new NoLayout("field_type", where);
    if ([...value].length > Number(rule.high)) throw new NoLayout("field_range", where);
    return value;
  }
  const number = Number(value);
  if (!(number >= Number(rule.low) && number <= Number(rule.high))) throw new NoLayout("field_range", where);
  return number;
}

/** @type {(given: unknown, where: string) => Box} */
function readBox(given, where) {
  if (!Array.isArray(given) || given.length !== 4 || !given.every((edge) => typeof edge === "number")) throw new NoLayout("box_form", where);
  const [x0, y0, x1, y1] = given;
  if (!given.every(Number.isFinite)) throw new NoLayout("box_form", where);
  if (!(x0 < x1 && y0 < y1)) throw new NoLayout("box_empty", where);
  if (x0 >= 1 || y0 >= 1 || x1 <= 0 || y1 <= 0) throw new NoLayout("box_outside", where);
  return [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, 1), Math.min(y1, 1)];
}

/** @type {(value: any) => boolean} */
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The text of a layout file. @type {(subjects: readonly Subject[]) => string} */
export const writeLayout = (subjects) => JSON.stringify({ version: VERSION, subjects }, null, 2) + "\n";
