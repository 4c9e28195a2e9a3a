// Layout files (docs/layout.md), read and validated by the same rules as lib_anyms/layout/layout.py.

import { ROLES } from "./order.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Box} Box */
/**
 * @typedef {{name: string, box: Box, role: string, weight: number, start: number, end: number, blocks: string,
 *   prompt?: string, avoid?: string}} Subject
 */
/** @typedef {{fallback: string | number, low?: number, high?: number, choices?: readonly string[]}} Rule */

const VERSION = 1;
const MAX_SUBJECTS = 12;
/** @type {Record<string, Rule>} */
const RULES = {
  name: { fallback: "", high: 80 },
  role: { fallback: "subject", choices: ROLES },
  weight: { fallback: 1, low: 0, high: 2 },
  start: { fallback: 0, low: 0, high: 1 },
  end: { fallback: 1, low: 0, high: 1 },
  blocks: { fallback: "all", choices: ["all", "style", "composition", "all but style", "all but composition"] },
  prompt: { fallback: "", high: 4000 },
  avoid: { fallback: "", high: 4000 },
};
export const PROMPTS = ["prompt", "avoid"]; // a layout file has them only where they say something
export const SILHOUETTE = "silhouette"; // a data: URL of a mask of the whole picture
const IGNORED = ["box", "pictures", "card", SILHOUETTE]; // an infotext also has their hashes

/** An invalid layout file. `cause` is an error name of lib_anyms/errors.py. */
export class NoLayout extends Error {
  /** @param {string} cause @param {string} where */
  constructor(cause, where) {
    super(where ? `${cause}: ${where}` : cause);
    this.cause = cause;
    this.where = where;
  }
}

/** Subjects of a layout file, back to front. Throws NoLayout. @type {(text: string) => Subject[]} */
export function readLayout(text) {
  const layout = parsed(text);
  if (!isObject(layout) || !Array.isArray(layout.subjects)) throw new NoLayout("layout_form", "");
  if (layout.version !== VERSION) throw new NoLayout("layout_version", "");
  const subjects = [];
  for (const entry of layout.subjects) subjects.push(readSubject(entry, `subject ${subjects.length + 1}`));
  if (subjects.length < 1 || subjects.length > MAX_SUBJECTS) {
    throw new NoLayout("subject_count", String(subjects.length));
  }
  return subjects;
}

/** @type {(text: string) => any} */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new NoLayout("layout_form", "");
  }
}

/** One subject. Throws NoLayout. @type {(entry: any, where: string) => Subject} */
export function readSubject(entry, where) {
  if (!isObject(entry)) throw new NoLayout("field_type", where);
  if (!("box" in entry)) throw new NoLayout("field_missing", `box of ${where}`);
  const unknown = Object.keys(entry).find((name) => !(name in RULES) && !IGNORED.includes(name));
  if (unknown !== undefined) throw new NoLayout("field_unknown", `${unknown} of ${where}`);
  /** @type {any} */
  const subject = {};
  for (const [name, rule] of Object.entries(RULES)) {
    const value = name in entry ? entry[name] : rule.fallback; // null is a value, and an invalid one
    const field = readField(value, rule, `${name} of ${where}`);
    if (field !== "" || !PROMPTS.includes(name)) subject[name] = field;
  }
  subject.box = readBox(entry.box, where);
  if (subject.start >= subject.end) throw new NoLayout("subject_window", where);
  return { ...subject, name: subject.name || where };
}

/** @type {(value: unknown, rule: Rule, where: string) => string | number} */
function readField(value, rule, where) {
  if (rule.choices) {
    if (typeof value !== "string" || !rule.choices.includes(value)) throw new NoLayout("field_choice", where);
    return value;
  }
  if (typeof value !== typeof rule.fallback) throw new NoLayout("field_type", where);
  if (typeof value === "string") return readText(value, rule, where);
  const number = Number(value);
  if (!(number >= Number(rule.low) && number <= Number(rule.high))) throw new NoLayout("field_range", where);
  return number;
}

/**
 * Python cannot write half of a surrogate pair as UTF-8.
 * @type {(text: string, rule: Rule, where: string) => string}
 */
function readText(text, rule, where) {
  const letters = [...text];
  if (letters.some((letter) => /^[\ud800-\udfff]$/.test(letter))) throw new NoLayout("field_type", where);
  if (letters.length > Number(rule.high)) throw new NoLayout("field_range", where);
  return text;
}

/** @type {(value: unknown, where: string) => Box} */
function readBox(value, where) {
  if (!Array.isArray(value) || value.length !== 4) throw new NoLayout("box_form", where);
  if (!value.every(Number.isFinite)) throw new NoLayout("box_form", where);
  const [x0, y0, x1, y1] = value;
  if (!(x0 < x1 && y0 < y1)) throw new NoLayout("box_empty", where);
  if (x0 >= 1 || y0 >= 1 || x1 <= 0 || y1 <= 0) throw new NoLayout("box_outside", where);
  return [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, 1), Math.min(y1, 1)];
}

/** @type {(value: any) => boolean} */
export const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** The text of a layout file. @type {(subjects: readonly Subject[]) => string} */
export const writeLayout = (subjects) => JSON.stringify({ version: VERSION, subjects }, null, 2) + "\n";
