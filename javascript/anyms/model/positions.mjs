// Position words: where each subject stands, written into the main prompt. lib_anyms/layout/positions.py does the same.

/** @typedef {import("./boxes.mjs").Box} Box */

const PHRASES = [
  ["in the upper left", "at the top", "in the upper right"],
  ["on the left", "in the middle", "on the right"],
  ["in the lower left", "at the bottom", "in the lower right"],
];
const WIDE = 0.75; // a box with a larger share of the image has no place along that axis
const LOW = 0.4; // the middle third, by the centre of the box
const HIGH = 0.6;
const TAG = /<[^<>]*>/g; // an extra network
const UNNAMED = /^(subject \d+)?$/;
const KNOWN = PHRASES.flat().join("|");
const IN_WORD = "[\\p{L}\\p{N}\\p{M}_-]";

/** A phrase for the place of a box in the image; "" for a box over all of it. @type {(box: Box) => string} */
export function positionOf([x0, y0, x1, y1]) {
  const row = third(y0, y1);
  const column = third(x0, x1);
  if (row === null && column === null) return "";
  return PHRASES[row ?? 1][column ?? 1];
}

/**
 * The prompt with the position of each subject after its name. A position from before is replaced. A name that the
 * prompt lacks comes to the end. Backgrounds and attributes have no position: they follow others.
 * @param {string} prompt
 * @param {readonly {name: string, role: string, box: Box}[]} subjects role: after "auto" was resolved
 */
export function writePositions(prompt, subjects) {
  const placed = subjects
    .map((subject) => ({ ...subject, name: subject.name.trim() }))
    .filter((subject) => subject.role === "subject" && !UNNAMED.test(subject.name));
  const taken = [...prompt.matchAll(TAG)].map((tag) => spanOf(tag.index, tag[0].length));
  /** @type {{start: number, end: number, words: string}[]} */
  const edits = [];
  /** @type {Map<number, string>} */
  const lacking = new Map();
  const longestFirst = [...placed.keys()].sort((one, other) => placed[other].name.length - placed[one].name.length);
  for (const number of longestFirst) {
    const { name, box } = placed[number];
    const phrase = positionOf(box);
    const span = find(name, prompt, taken);
    if (span) {
      taken.push(span);
      edits.push({ start: span.start + name.length, end: span.end, words: phrase && ` ${phrase}` });
    } else if (phrase) {
      lacking.set(number, `${name} ${phrase}`);
    }
  }
  edits.sort((one, other) => other.start - one.start);
  for (const { start, end, words } of edits) prompt = prompt.slice(0, start) + words + prompt.slice(end);
  const added = [...lacking.keys()].sort((one, other) => one - other).map((number) => lacking.get(number));
  return [prompt.trimEnd().replace(/,+$/, ""), ...added].filter(Boolean).join(", ");
}

/** @typedef {{start: number, end: number}} Span */

/** @type {(start: number, length: number) => Span} */
const spanOf = (start, length) => ({ start, end: start + length });

/**
 * The first place of a name as a whole word, with a position after it, outside the spans `taken`; null: none.
 * @type {(name: string, prompt: string, taken: readonly Span[]) => Span | null}
 */
function find(name, prompt, taken) {
  const escaped = name.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  const pattern = new RegExp(`(?<!${IN_WORD})${escaped}(?!${IN_WORD})(?: (?:${KNOWN})\\b)?`, "giu");
  for (const match of prompt.matchAll(pattern)) {
    const span = spanOf(match.index, match[0].length);
    if (taken.every((other) => span.end <= other.start || span.start >= other.end)) return span;
  }
  return null;
}

/**
 * 0, 1 or 2 by the centre of the part within the image; null for a box that has most of the axis.
 * @type {(low: number, high: number) => number | null}
 */
function third(low, high) {
  const start = Math.max(0, low);
  const end = Math.min(1, high);
  if (end - start > WIDE) return null;
  const centre = (start + end) / 2;
  if (centre < LOW) return 0;
  return centre > HIGH ? 2 : 1;
}
