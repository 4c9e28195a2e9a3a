// Checks of a layout before Generate. Each problem is one sentence, shown at its subject.

import { tokenGrid, tokensOf } from "./boxes.mjs?v=31cf827f";
import { shares, takesPart } from "./layout.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./layout.mjs").Layout} Layout */
/** @typedef {import("./layout.mjs").Facts} Facts */
/** @typedef {"warning" | "hint"} Kind a warning: the picture will differ from the layout; a hint: it may differ */
/** @typedef {{slot: number, kind: Kind, message: string}} Hint */
/**
 * Values of the page: the picture's size, the prompts (as typed, and of the last picture), how a reference picture is
 * fitted to the encoder's square, and the known sizes of a slot's pictures.
 * @typedef {{size: Size, prompts: readonly string[], fit: string, pictures: (slot: number) => readonly Size[]}} Page
 */

const SMALL = 2; // tokens per side, in the coarse layers
const DEFAULT_NAME = /^subject \d+$/; // of a subject that the user has not named; no prompt has it
const LONG = 1.5; // ratio of a picture's longer side to its shorter side

export const MESSAGES = {
  hidden: "Hidden: other boxes cover this one completely, so it has no effect. Bring it forward or move it.",
  noPicture: "It has a name but no picture. Drop one onto its box.",
  small: "Its box is too small to show details. Make it at least 64 × 64 pixels.",
  cropped: "Its picture is far from square, so both ends are cropped. Choose the fit pad to keep them.",
  unnamed: "Its name was not found in the prompt. That may still be right (wildcards, styles, another language).",
};

/**
 * The hints of each subject that takes part, by slot.
 * @type {(layout: Layout, facts: Facts, page: Page) => Hint[]}
 */
export function hints(layout, facts, page) {
  const visible = shares(layout, facts, page.size);
  /** @type {Hint[]} */
  const all = [];
  for (const { slot, box } of layout.regions) {
    if (!takesPart(layout, facts, slot)) continue;
    const { name, picture } = facts(slot);
    const cropped = page.fit === "crop" && page.pictures(slot).some(isLong);
    if (visible.get(slot) === 0) all.push({ slot, kind: "warning", message: MESSAGES.hidden });
    if (picture === "") all.push({ slot, kind: "warning", message: MESSAGES.noPicture });
    if (isSmall(box, page.size)) all.push({ slot, kind: "hint", message: MESSAGES.small });
    if (cropped) all.push({ slot, kind: "hint", message: MESSAGES.cropped });
    if (isUnnamed(name, page.prompts)) all.push({ slot, kind: "hint", message: MESSAGES.unnamed });
  }
  return all;
}

/** @type {(box: import("./boxes.mjs").Box, size: Size) => boolean} */
function isSmall(box, size) {
  const { top, bottom, left, right } = tokensOf(box, tokenGrid(size, 2));
  return Math.min(bottom - top, right - left) < SMALL;
}

/** @type {(size: Size) => boolean} */
const isLong = ({ width, height }) => Math.max(width, height) > LONG * Math.min(width, height);

/** Whether no prompt has every word of the name. False while all prompts are empty.
 * @type {(name: string, prompts: readonly string[]) => boolean} */
function isUnnamed(name, prompts) {
  if (DEFAULT_NAME.test(name)) return false;
  const words = name.toLowerCase().split(/\s+/).filter(Boolean);
  const hasName = (/** @type {string} */ prompt) => words.every((word) => prompt.toLowerCase().includes(word));
  const typed = prompts.some((prompt) => prompt.trim() !== "");
  return words.length > 0 && typed && !prompts.some(hasName);
}
