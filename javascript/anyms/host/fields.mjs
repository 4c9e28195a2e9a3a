// The host's components as the page shows them. They are what is sent on Generate: this reads them, and writes what an edit changed.

import { pictureSize } from "./page.mjs?v=0.1.0";
import { isOff, shows } from "../model/layout.mjs?v=0.1.0";
import { allSlots, writeOrder } from "../model/order.mjs?v=0.1.0";
import { readPictures, writePictures } from "../model/pictures.mjs?v=0.1.0";

/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("../model/layout.mjs").Told} Told */
/** @typedef {import("../model/layout.mjs").Fact} Fact */
/** @typedef {import("../model/boxes.mjs").Size} Size */

export const EDGES = ["x0", "y0", "x1", "y1"];
const SETTINGS = ["name", "role", "weight", "start", "end", "blocks"];

/** Sets a value as typing does, so that gradio takes it over. @type {(entry: HTMLInputElement, value: string | number) => void} */
function type(entry, value) {
  if (typeof value === "number" ? Number(entry.value) === value : entry.value === value) return;
  entry.value = String(value);
  entry.dispatchEvent(new Event("input", { bubbles: true }));
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
    /** What was read last of a slot's pictures, which are megabytes. @type {Map<number, {text: string, pictures: import("../model/pictures.mjs").Pictures}>} */
    this.read = new Map();
  }

  /** @type {(name: string) => string} */
  id(name) {
    return this.prefix + name;
  }

  /** The input of a component; throws where the page has none. @type {(name: string) => HTMLInputElement} */
  entry(name) {
    const found = document.getElementById(this.id(name))?.querySelector("textarea, input:not([type=range])");
    if (!found) throw new Error(`the page has no field ${name}`);
    return /** @type {HTMLInputElement} */ (found);
  }

  /** Whether the page has been built so far. */
  get ready() {
    const last = document.getElementById(this.id(`slot${this.slots}_use`));
    return Boolean(last?.querySelector("input") && this.place(this.slots) && document.getElementById(this.id("order"))?.querySelector("textarea, input"));
  }

  /** @returns {Told} */
  told() {
    const slots = allSlots(this.slots);
    return {
      boxes: slots.map((slot) => EDGES.map((edge) => this.entry(`slot${slot}_${edge}`).valueAsNumber)),
      used: slots.map((slot) => this.entry(`slot${slot}_use`).checked),
      order: this.entry("order").value,
      pictures: slots.map((slot) => this.pictures(slot)),
      names: slots.map((slot) => this.entry(`slot${slot}_name`).value),
    };
  }

  /** @type {(slot: number) => Fact} */
  fact(slot) {
    const [name, role] = ["name", "role"].map((field) => this.entry(`slot${slot}_${field}`).value);
    return { name, role, picture: this.pictures(slot)[0] ?? "" };
  }

  /** Where a slot's pictures are drawn. @type {(slot: number) => HTMLElement} */
  place(slot) {
    return /** @type {HTMLElement} */ (document.getElementById(this.id(`slot${slot}_shown`))?.querySelector(".anyms-pictures"));
  }

  /** The slot's reference pictures. @type {(slot: number) => import("../model/pictures.mjs").Pictures} */
  pictures(slot) {
    const text = this.entry(`slot${slot}_pictures`).value;
    const read = this.read.get(slot);
    if (read?.text === text) return read.pictures;
    const pictures = readPictures(text);
    this.read.set(slot, { text, pictures });
    return pictures;
  }

  /** @type {(slot: number, pictures: import("../model/pictures.mjs").Pictures) => void} */
  setPictures(slot, pictures) {
    this.send(`slot${slot}_pictures`, writePictures(pictures));
  }

  /** All that a layout file has of a slot besides its box. @type {(slot: number) => Record<string, string | number>} */
  settings(slot) {
    /** @type {(name: string) => [string, string | number]} */
    const told = (name) => {
      const entry = this.entry(`slot${slot}_${name}`);
      return [name, entry.type === "number" ? entry.valueAsNumber : entry.value];
    };
    return Object.fromEntries(SETTINGS.map(told));
  }

  /** Of the picture; null while the host's own fields are not there. @returns {Size | null} */
  size() {
    return pictureSize(this.tab);
  }

  /**
   * All but pictures and names, which only who changes them writes.
   * @param {Layout} layout
   * @param {(slot: number) => boolean} kept whether a slot that is not shown must be switched off to stay so
   */
  write(layout, kept) {
    for (const { slot, box } of layout.regions) EDGES.forEach((edge, n) => type(this.entry(`slot${slot}_${edge}`), box[n]));
    for (const slot of allSlots(this.slots)) {
      const use = this.entry(`slot${slot}_use`);
      const wanted = shows(layout, slot) ? !isOff(layout, slot) : !kept(slot);
      if (use.checked !== wanted) use.click();
    }
    type(this.entry("order"), writeOrder(layout.order));
  }

  /** Sets a text field of ours. @type {(name: string, value: string) => void} */
  send(name, value) {
    type(this.entry(name), value);
  }
}
