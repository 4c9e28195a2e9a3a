// The host's own part of the page: prompts, checkpoint, picture size, hires fix, galleries and Generate. Read when
// needed.

import { keptByHires } from "../model/hires.mjs?v=31cf827f";

/** @typedef {import("../model/boxes.mjs").Size} Size */

/** @type {(selector: string) => HTMLInputElement | null} */
const find = (selector) => document.querySelector(selector);

/** NaN if there is none. @type {(selector: string) => number} */
const numberIn = (selector) => find(`${selector} input[type=number]`)?.valueAsNumber ?? NaN;

/** @type {(width: number, height: number) => Size | null} */
const asSize = (width, height) => (width >= 8 && height >= 8 ? { width, height } : null);

/** Size of the picture that the tab makes; null until the host's fields exist. @type {(tab: string) => Size | null} */
export function pictureSize(tab) {
  const scaled = tab === "img2img" ? scaledSize() : null;
  return scaled ?? asSize(numberIn(`#${tab}_width`), numberIn(`#${tab}_height`));
}

/** The result of "Resize by"; null unless it is chosen and there is a picture. */
function scaledSize() {
  const preview = document.getElementById("img2img_scale_resolution_preview");
  const size = /(\d+)x(\d+)\s*$/.exec(preview?.textContent?.trim() ?? "");
  // offsetParent makes the browser lay out the page, so it comes last.
  return size && preview?.offsetParent ? asSize(Number(size[1]), Number(size[2])) : null;
}

/**
 * The box that a hires fix keeps; null: it keeps the whole picture.
 * @type {(tab: string, size: Size) => import("../model/boxes.mjs").Box | null}
 */
export function hiresCrop(tab, size) {
  const checkbox = find(`#${tab}_hr-checkbox input`) ?? find(`#${tab}_hr-visible-checkbox`);
  if (!checkbox?.checked) return null;
  return keptByHires(size, { width: numberIn(`#${tab}_hr_resize_x`), height: numberIn(`#${tab}_hr_resize_y`) });
}

/** The prompt as typed, and the final prompt of the last picture. @type {(tab: string) => string[]} */
export function prompts(tab) {
  const typed = find(`#${tab}_prompt textarea`)?.value ?? "";
  const infotext = document.getElementById(`html_info_${tab}`)?.textContent ?? "";
  return [typed, infotext.split(/\n?(?:Negative prompt|Steps):/)[0]];
}

/** Adds words to the end of the prompt, as typing does. @type {(tab: string, words: string) => void} */
export function addToPrompt(tab, words) {
  const before = prompts(tab)[0].trimEnd();
  const gap = before.endsWith(",") ? " " : ", ";
  setPrompt(tab, before + (before && gap) + words);
}

/** Replaces the main prompt, as if it were typed. @type {(tab: string, text: string) => void} */
export function setPrompt(tab, text) {
  const entry = find(`#${tab}_prompt textarea`);
  if (!entry) return;
  entry.value = text;
  entry.dispatchEvent(new Event("input", { bubbles: true }));
}

/** @type {string | null} */
let chosenCheckpoint = null; // set by gradio's change event

/** @param {string} name */
export function setCheckpoint(name) {
  chosenCheckpoint = name;
}

/** Name of the selected checkpoint; "" if the page has no list of them. */
export function checkpoint() {
  const list = "#setting_sd_model_checkpoint input, .model_selection input";
  return chosenCheckpoint ?? find(list)?.value ?? "";
}

/**
 * Calls `typed` for each letter of the prompt, and `changed` when any other of these values may have changed.
 * @type {(tab: string, changed: () => void, typed: () => void) => void}
 */
export function watchPage(tab, changed, typed) {
  find(`#${tab}_prompt textarea`)?.addEventListener("input", typed);
  const observer = new MutationObserver(changed);
  /** @type {(id: string, options: MutationObserverInit) => void} */
  const observe = (id, options) => {
    const element = document.getElementById(id);
    if (element) observer.observe(element, options);
  };
  for (const id of ["txtimg_hr_finalres", "img2img_scale_resolution_preview", `html_info_${tab}`]) {
    observe(id, { childList: true, characterData: true, subtree: true });
  }
  if (tab !== "img2img") return;
  for (const id of ["img2img_tab_resize_by", "img2img_tab_resize_to"]) {
    observe(id, { attributes: true, attributeFilter: ["style", "class"] }); // one of the two is visible
  }
}

/** The host's gallery of a tab. @type {(tab: string) => HTMLElement | null} */
export const gallery = (tab) => document.getElementById(`${tab}_gallery`);

/** The element with img2img's input pictures. @type {() => HTMLElement | null} */
export const inputPictures = () => document.getElementById("mode_img2img");

/** Presses the host's Generate button. @type {(tab: string) => void} */
export function generate(tab) {
  document.getElementById(`${tab}_generate`)?.click();
}
