// What else the host's page tells: its prompt, its checkpoint, the size "Resize by" gives, where a hires fix cuts. Read where it is shown.

import { leftBy } from "../model/hires.mjs?v=0.1.0";

/** @typedef {import("../model/boxes.mjs").Size} Size */

/** @type {(selector: string) => HTMLInputElement | null} */
const find = (selector) => document.querySelector(selector);

/** @type {(selector: string) => number} NaN where there is none */
const numberIn = (selector) => find(`${selector} input[type=number]`)?.valueAsNumber ?? NaN;

/** @type {(width: number, height: number) => Size | null} */
const asSize = (width, height) => (width >= 8 && height >= 8 ? { width, height } : null);

/** Of the picture that is drawn on; null while the host's own fields are not there. @type {(tab: string) => Size | null} */
export function pictureSize(tab) {
  return (tab === "img2img" ? scaledSize() : null) ?? asSize(numberIn(`#${tab}_width`), numberIn(`#${tab}_height`));
}

/** What "Resize by" says it gives, where that is chosen and a picture is there. */
function scaledSize() {
  const told = document.getElementById("img2img_scale_resolution_preview");
  const to = /(\d+)x(\d+)\s*$/.exec(told?.textContent?.trim() ?? "");
  return to && told?.offsetParent ? asSize(Number(to[1]), Number(to[2])) : null; // whether it is shown costs a layout of the page
}

/** The part a hires fix leaves, null: all of it. @type {(tab: string, size: Size) => import("../model/boxes.mjs").Box | null} */
export function hiresFrame(tab, size) {
  const on = find(`#${tab}_hr-checkbox input`) ?? find(`#${tab}_hr-visible-checkbox`);
  if (!on?.checked) return null;
  return leftBy(size, { width: numberIn(`#${tab}_hr_resize_x`), height: numberIn(`#${tab}_hr_resize_y`) });
}

/** The prompt as typed, and that of the last picture as the host made it. @type {(tab: string) => string[]} */
export function prompts(tab) {
  const typed = find(`#${tab}_prompt textarea`)?.value ?? "";
  const told = document.getElementById(`html_info_${tab}`)?.textContent ?? "";
  return [typed, told.split(/\n?(?:Negative prompt|Steps):/)[0]];
}

/** @type {string | null} */
let chosen = null; // by an event of this page's life

/** @param {string} name */
export function chooseCheckpoint(name) {
  chosen = name;
}

/** The name of the checkpoint that is chosen; "" where the page has no list of them. */
export const checkpoint = () => chosen ?? find("#setting_sd_model_checkpoint input, .model_selection input")?.value ?? "";

/** Calls `changed` when any of this may have changed. @type {(tab: string, changed: () => void) => void} */
export function watch(tab, changed) {
  find(`#${tab}_prompt textarea`)?.addEventListener("input", changed);
  const seen = new MutationObserver(changed);
  for (const id of ["txtimg_hr_finalres", "img2img_scale_resolution_preview", `html_info_${tab}`]) {
    const part = document.getElementById(id);
    if (part) seen.observe(part, { childList: true, characterData: true, subtree: true });
  }
  for (const id of ["img2img_tab_resize_by", "img2img_tab_resize_to"]) {
    const part = tab === "img2img" ? document.getElementById(id) : null;
    if (part) seen.observe(part, { attributes: true, attributeFilter: ["style", "class"] }); // which one is shown
  }
}

/** Starts the host's job. @type {(tab: string) => void} */
export function generate(tab) {
  document.getElementById(`${tab}_generate`)?.click();
}
