// Hints at the rows and boxes they are about; a new warning is announced once, politely.

import { attribute, icon, make, t, text } from "./dom.mjs?v=0.1.0";
import { hints } from "../model/hints.mjs?v=0.1.0";
import { prompts } from "../host/page.mjs?v=0.1.0";
import { allSlots } from "../model/order.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/hints.mjs").Hint} Hint */
/** @typedef {import("../model/boxes.mjs").Size} Size */

export class HintList {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** Of pictures by their address; null while it is being found out. @type {Map<string, Size | null>} */
    this.sizes = new Map();
    /** @type {Map<number, {list: HTMLElement, told: string}>} */
    this.lists = new Map();
    this.files = make("div", { className: "notice", hidden: true });
    this.said = make("div", { className: "unseen", "aria-live": "polite" });
    this.root = make("div", {}, this.files, this.said);
  }

  draw() {
    const { editor } = this;
    const found = hints(editor.layout, (slot) => editor.fact(slot), this.page());
    for (const [slot, { root }] of editor.rows.rows) this.drawRow(slot, root, found);
    const sentence = this.sentence();
    this.files.hidden = sentence === "";
    text(this.files, sentence);
    if (editor.stage.gesture) return; // what passes while dragging is not worth hearing
    const warnings = found.filter(({ kind }) => kind === "warning").map(({ slot, words }) => `${t("Subject")} ${slot}: ${t(words)}`);
    text(this.said, [...(sentence ? [sentence] : []), ...warnings].join(" "));
  }

  /** @returns {import("../model/hints.mjs").Page} */
  page() {
    const { size, fields } = this.editor;
    return { size, prompts: prompts(fields.tab), fit: fields.entry("fit").value, pictures: (slot) => this.sizesOf(slot) };
  }

  /** What the server found wrong with model files or checkpoint. */
  sentence() {
    return this.editor.fields.entry("found").value.trim();
  }

  /** @type {(slot: number) => Size[]} */
  sizesOf(slot) {
    return this.editor.fields.pictures(slot).flatMap((address) => this.sizeOf(address) ?? []);
  }

  /** @type {(address: string) => Size | null} */
  sizeOf(address) {
    const known = this.sizes.get(address);
    if (known !== undefined) return known;
    const inUse = new Set(allSlots(this.editor.fields.slots).flatMap((slot) => this.editor.fields.pictures(slot)));
    for (const other of this.sizes.keys()) if (!inUse.has(other)) this.sizes.delete(other); // an address is a whole picture
    this.sizes.set(address, null);
    const image = new Image();
    image.addEventListener("load", () => {
      this.sizes.set(address, { width: image.naturalWidth, height: image.naturalHeight });
      this.editor.refresh();
    });
    image.src = address;
    return null;
  }

  /** @type {(slot: number, row: HTMLElement, found: readonly Hint[]) => void} */
  drawRow(slot, row, found) {
    const mine = found.filter((hint) => hint.slot === slot);
    const shown = this.lists.get(slot) ?? { list: make("ul", { className: "hints", id: `hints${slot}` }), told: "" };
    this.lists.set(slot, shown);
    if (shown.list.parentNode !== row) row.append(shown.list);
    const told = mine.map(({ kind, words }) => `${kind} ${words}`).join("\n");
    if (told !== shown.told) {
      shown.told = told;
      shown.list.replaceChildren(...mine.map(({ kind, words }) => make("li", { className: kind }, icon(kind), make("span", {}, t(words)))));
    }
    shown.list.hidden = !mine.length;
    const box = this.editor.stage.boxes.get(slot)?.root;
    if (!box) return;
    box.classList.toggle("warned", mine.some(({ kind }) => kind === "warning"));
    attribute(box, "aria-describedby", mine.length ? `hints${slot} keys` : "keys");
  }
}
