// What may be wrong with a layout before it is sent: one sentence each, told where it arises. No page here.

import { tokenGrid, tokensOf } from "./boxes.mjs?v=0.1.0";
import { shares, takesPart } from "./layout.mjs?v=0.1.0";

/** @typedef {import("./boxes.mjs").Size} Size */
/** @typedef {import("./layout.mjs").Layout} Layout */
/** @typedef {import("./layout.mjs").Facts} Facts */
/** @typedef {"warning" | "hint"} Kind a warning: the picture will not be as drawn; a hint: it may not */
/** @typedef {{slot: number, kind: Kind, words: string}} Hint */
/**
 * What the page tells: the picture's size, the prompts the names may stand in (as typed, and the last picture's own), how a
 * picture becomes the encoder's square, and each slot's pictures' sizes as far as they are known.
 * @typedef {{size: Size, prompts: readonly string[], fit: string, pictures: (slot: number) => readonly Size[]}} Page
 */

const SMALL = 2; // tokens a side of the coarse layers
const LONG = 1.5; // of a picture's longer side to its shorter one

export const WORDS = {
  hidden: "Hidden: others cover all of it, so it takes no part. Bring it forward or move it.",
  noPicture: "It has a name but no picture. Drop one onto its box.",
  small: "Its box is under two tokens of the coarse layers, too small to be seen well. Make it larger.",
  cropped: "Its picture is far from square, and its ends are cut off. Choose the fit pad to keep them.",
  unnamed: "Its name was not found in the prompt. That may still be right (wildcards, styles, another language).",
};

/**
 * Of each shown subject that takes part, by slot.
 * @type {(layout: Layout, facts: Facts, page: Page) => Hint[]}
 */
export function hints(layout, facts, page) {
  const seen = shares(layout, facts, page.size);
  return layout.regions.flatMap((region) => {
    const fact = facts(region.slot);
    if (!takesPart(layout, facts, region.slot)) return [];
    /** @type {[boolean, Kind, string][]} */
    const rules = [
      [seen.get(region.slot) === 0, "warning", WORDS.hidden],
      [fact.picture === "", "warning", WORDS.noPicture],
      [isSmall(region.box, page.size), "hint", WORDS.small],
      [page.fit === "crop" && page.pictures(region.slot).some(isLong), "hint", WORDS.cropped],
      [isUnnamed(fact.name, page.prompts), "hint", WORDS.unnamed],
    ];
    return rules.filter(([holds]) => holds).map(([, kind, words]) => ({ slot: region.slot, kind, words }));
  });
}

/** @type {(box: import("./boxes.mjs").Box, size: Size) => boolean} */
function isSmall(box, size) {
  const { top, bottom, left, right } = tokensOf(box, tokenGrid(size, 2));
  return Math.min(bottom - top, right - left) < SMALL;
}

/** @type {(size: Size) => boolean} */
const isLong = ({ width, height }) => Math.max(width, height) > LONG * Math.min(width, height);

/** Whether no prompt has all of the name's words. @type {(name: string, prompts: readonly string[]) => boolean} */
function isUnnamed(name, prompts) {
  const words = name.toLowerCase().split(/\s+/).filter(Boolean);
  const has = (/** @type {string} */ prompt) => words.every((word) => prompt.toLowerCase().includes(word));
  return words.length > 0 && prompts.some((prompt) => prompt.trim() !== "") && !prompts.some(has);
}
