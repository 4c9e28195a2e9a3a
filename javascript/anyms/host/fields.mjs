// The panel's gradio components on the page. Generate sends their values; this class reads them and writes edits to
// them.

import { pictureSize } from "./page.mjs?v=31cf827f";
import { PROMPTS, SILHOUETTE } from "../model/exchange.mjs?v=31cf827f";
import { isOff, shows } from "../model/layout.mjs?v=31cf827f";
import { allSlots, writeOrder } from "../model/order.mjs?v=31cf827f";
import { readPictures, writePictures } from "../model/pictures.mjs?v=31cf827f";

/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("../model/layout.mjs").FieldValues} FieldValues */
/** @typedef {import("../model/layout.mjs").Fact} Fact */
/** @typedef {import("../model/boxes.mjs").Size} Size */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */

// Users' scripts rely on these ids, so they keep their old names.
export const EXTRA_OUTPUT = "asked";
export const CROP_RESPONSE = "cut_told";

export const EDGES = ["x0", "y0", "x1", "y1"];
const SETTINGS = ["role", "weight", "start", "end", "blocks", ...PROMPTS, SILHOUETTE];

/**
 * Sets a value as typing does: gradio listens to the event.
 * @type {(entry: HTMLInputElement, value: string | number) => void}
 */
function type(entry, value) {
  const current = typeof value === "number" ? Number(entry.value) : entry.value;
  if (current === value) return;
  entry.value = String(value);
  entry.dispatchEvent(new Event("input", { bubbles: true }));
}

/** Names a slider's number for screen readers: gradio 3 does not. @type {(component: HTMLElement) => void} */
function nameNumber(component) {
  const number = component.querySelector("input[type=number]");
  const label = component.querySelector("label")?.textContent?.trim();
  if (number && label && !number.closest("label")) number.setAttribute("aria-label", label);
}

export class Fields {
  /**
   * @param {string} prefix of our components' element ids
   * @param {string} tab of the host
   * @param {number} slots
   */
  constructor(prefix, tab, slots) {
    this.prefix = prefix;
    this.tab = tab;
    this.slots = slots;
    /**
     * The last parsed text of each slot's pictures, which are megabytes.
     * @type {Map<number, {text: string, pictures: Pictures}>}
     */
    this.parsed = new Map();
    /** @type {Map<string, HTMLInputElement>} */
    this.entries = new Map();
  }

  /** @type {(name: string) => string} */
  id(name) {
    return this.prefix + name;
  }

  /** @type {(name: string) => HTMLElement | null} */
  component(name) {
    return document.getElementById(this.id(name));
  }

  /** The input of a component. Throws if the page has none. @type {(name: string) => HTMLInputElement} */
  entry(name) {
    const known = this.entries.get(name);
    if (known?.isConnected) return known; // gradio may build a component again
    const input = this.component(name)?.querySelector("textarea, input:not([type=range])");
    if (!input) throw new Error(`the page has no field ${name}`);
    const entry = /** @type {HTMLInputElement} */ (input);
    this.entries.set(name, entry);
    return entry;
  }

  /** Whether gradio has built the last component of the panel. */
  get ready() {
    const used = this.component(`slot${this.slots}_use`)?.querySelector("input");
    const order = this.component("order")?.querySelector("textarea, input");
    return Boolean(used && order && this.inspectorArea(this.slots) && this.footArea);
  }

  /** @returns {FieldValues} */
  values() {
    const slots = allSlots(this.slots);
    return {
      boxes: slots.map((slot) => this.box(slot)),
      used: slots.map((slot) => this.entry(`slot${slot}_use`).checked),
      order: this.entry("order").value,
      pictures: slots.map((slot) => this.pictures(slot)),
      names: slots.map((slot) => this.entry(`slot${slot}_name`).value),
      settings: slots.map((slot) => this.settings(slot)),
    };
  }

  /** @type {(slot: number) => number[]} */
  box(slot) {
    return EDGES.map((edge) => this.entry(`slot${slot}_${edge}`).valueAsNumber);
  }

  /** @type {(slot: number) => Fact} */
  fact(slot) {
    const name = this.entry(`slot${slot}_name`).value;
    const role = this.entry(`slot${slot}_role`).value;
    return { name, role, picture: this.pictures(slot)[0] ?? "" };
  }

  /** The element that shows a slot's pictures. @type {(slot: number) => HTMLElement} */
  pictureArea(slot) {
    return /** @type {HTMLElement} */ (this.component(`slot${slot}_shown`)?.querySelector(".anyms-pictures"));
  }

  /** The slot's reference pictures. @type {(slot: number) => Pictures} */
  pictures(slot) {
    const text = this.entry(`slot${slot}_pictures`).value;
    const last = this.parsed.get(slot);
    if (last?.text === text) return last.pictures;
    const pictures = readPictures(text);
    this.parsed.set(slot, { text, pictures });
    return pictures;
  }

  /** @type {(slot: number, pictures: Pictures) => void} */
  setPictures(slot, pictures) {
    this.send(`slot${slot}_pictures`, writePictures(pictures));
  }

  /** The slot's settings, without name and box. @type {(slot: number) => Record<string, string | number>} */
  settings(slot) {
    /** @type {Record<string, string | number>} */
    const settings = {};
    for (const name of SETTINGS) {
      const entry = this.entry(`slot${slot}_${name}`);
      settings[name] = entry.type === "number" ? entry.valueAsNumber : entry.value;
    }
    return settings;
  }

  /** Number and size of missing model files. @returns {{count?: number, size?: string}} */
  lacking() {
    const text = this.component("lacking") ? this.entry("lacking").value : "";
    return text ? JSON.parse(text) : {};
  }

  /** Presses a button of the panel. @type {(name: string) => void} */
  press(name) {
    const component = this.component(name);
    (component?.matches("button") ? component : component?.querySelector("button"))?.click();
  }

  /** Selects a slot's name to be typed over. @param {number} slot */
  rename(slot) {
    const name = this.entry(`slot${slot}_name`);
    name.focus({ preventScroll: true });
    name.select();
  }

  /** Opens the fold with the model files. */
  showFiles() {
    for (const name of ["more", "files"]) {
      const fold = this.component(name);
      const label = /** @type {HTMLElement | null | undefined} */ (fold?.querySelector(".label-wrap"));
      if (label && !label.classList.contains("open")) label.click();
    }
    this.component("files")?.scrollIntoView({ block: "nearest" });
  }

  /**
   * Calls `show` when the text about a download changes.
   * @type {(show: (text: string, running: boolean) => void) => void}
   */
  watchDownload(show) {
    const shown = this.component("files_progress");
    if (!shown) return;
    const report = () => show(shown.textContent?.trim() ?? "", shown.querySelector("progress") !== null);
    new MutationObserver(report).observe(shown, { childList: true, subtree: true, characterData: true });
  }

  /** Shows each field's help as its tip. @type {(prefix: string, help: Record<string, string>) => void} */
  explain(prefix, help) {
    for (const [name, sentence] of Object.entries(help)) {
      const component = this.component(prefix + name);
      if (!component) continue;
      component.title = sentence;
      nameNumber(component);
    }
  }

  /** Name of the adapter that the next job uses; "" if none is known. */
  adapterName() {
    return this.component("ready") ? this.entry("ready").value.trim() : "";
  }

  /**
   * The element beside a slot's fields that shows its role and numbers.
   * @type {(slot: number) => HTMLElement | null}
   */
  inspectorArea(slot) {
    return this.component(`slot${slot}_inspect`)?.querySelector(".anyms-inspect") ?? null;
  }

  /** The element in the panel's last row. @returns {HTMLElement | null} */
  get footArea() {
    return this.component("foot")?.querySelector(".anyms-foot") ?? null;
  }

  /** Size of the picture; null until the host's fields exist. @returns {Size | null} */
  size() {
    return pictureSize(this.tab);
  }

  /**
   * Writes boxes, use and order. Pictures and names are written where they change.
   * @param {Layout} layout
   * @param {(slot: number) => boolean} switchOff whether a hidden slot must be switched off to stay hidden
   */
  write(layout, switchOff) {
    for (const { slot, box } of layout.regions) {
      EDGES.forEach((edge, n) => type(this.entry(`slot${slot}_${edge}`), box[n]));
    }
    for (const slot of allSlots(this.slots)) {
      const use = this.entry(`slot${slot}_use`);
      const active = shows(layout, slot) ? !isOff(layout, slot) : !switchOff(slot);
      if (use.checked !== active) use.click();
    }
    type(this.entry("order"), writeOrder(layout.order));
  }

  /** Sets a text or number field of the panel. @type {(name: string, value: string | number) => void} */
  send(name, value) {
    type(this.entry(name), value);
  }
}
