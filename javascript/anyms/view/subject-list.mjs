// The subjects as a list, the topmost first: number fields instead of dragging, layers, and how much of each is seen.

import { fitted } from "../model/boxes.mjs?v=0.1.0";
import { attribute, button, colourOf, make, t, text } from "./dom.mjs?v=0.1.0";
import { boxOf, isOff } from "../model/layout.mjs?v=0.1.0";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("./editor.mjs").Editor} Editor */
/**
 * @typedef {{root: HTMLElement, name: HTMLElement, seen: HTMLElement, told: HTMLElement, bar: HTMLElement, inputs: HTMLInputElement[],
 * on: HTMLButtonElement, up: HTMLButtonElement, down: HTMLButtonElement}} Row
 */

const NUMBERS = ["left", "top", "width", "height"];

/** @type {(box: Box) => number[]} in percent */
const shown = (box) => [box[0], box[1], box[2] - box[0], box[3] - box[1]].map((part) => Math.round(part * 1000) / 10);

/**
 * The box with one number typed anew: left and top move it, width and height keep its corner.
 * @type {(box: Box, n: number, percent: number) => Box}
 */
export function typed(box, n, percent) {
  const part = percent / 100;
  if (n >= 2) return fitted([box[0], box[1], n === 2 ? box[0] + Math.max(0, part) : box[2], n === 3 ? box[1] + Math.max(0, part) : box[3]]);
  const low = Math.min(Math.max(part, 0), 1 - (box[n + 2] - box[n]));
  return fitted(n === 0 ? [low, box[1], low + box[2] - box[0], box[3]] : [box[0], low, box[2], low + box[3] - box[1]]);
}

export class Rows {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Map<number, Row>} */
    this.rows = new Map();
    this.root = make("ol", { className: "rows", "aria-label": t("Subjects, the topmost first") });
  }

  draw() {
    const focused = /** @type {HTMLButtonElement | null} */ (this.editor.shadow.activeElement);
    this.drawAll();
    if (!focused || !this.root.contains(focused)) return;
    // Moving a row in the page takes its focus away, and so does switching off its button.
    const pair = [...this.rows.values()].map(({ up, down }) => [up, down]).find((buttons) => buttons.includes(focused));
    const kept = focused.disabled ? pair?.find((button) => !button.disabled) : focused;
    kept?.focus({ preventScroll: true });
  }

  drawAll() {
    const topmost = [...this.editor.order].reverse();
    for (const slot of topmost) this.drawRow(slot);
    for (const slot of this.rows.keys()) if (!topmost.includes(slot)) this.rows.delete(slot);
    const wanted = topmost.map((slot) => /** @type {Row} */ (this.rows.get(slot)).root);
    if (wanted.length === this.root.children.length && wanted.every((root, n) => root === this.root.children[n])) return;
    this.root.replaceChildren(...wanted);
  }

  /** @param {number} slot */
  drawRow(slot) {
    const row = this.rows.get(slot) ?? this.newRow(slot);
    const { layout, order, chosen, shares } = this.editor;
    const name = this.editor.fact(slot).name.trim();
    text(row.name, name || `${t("subject")} ${slot}`);
    row.name.classList.toggle("unnamed", !name);
    row.root.classList.toggle("chosen", slot === chosen);
    shown(boxOf(layout, slot)).forEach((value, n) => {
      if (this.editor.shadow.activeElement !== row.inputs[n]) row.inputs[n].value = String(value);
    });
    const share = shares.get(slot) ?? null;
    const percent = Math.round((share ?? 0) * 100);
    const off = isOff(layout, slot);
    attribute(row.on, "aria-checked", String(!off));
    row.root.classList.toggle("off", off);
    text(row.told, share === null ? t(off ? "off" : "no picture yet") : percent ? `${percent} % ${t("seen")}` : t("hidden"));
    row.seen.classList.toggle("hidden", share !== null && percent === 0);
    row.bar.style.width = `${percent}%`;
    row.up.disabled = order.indexOf(slot) === order.length - 1;
    row.down.disabled = order.indexOf(slot) === 0;
  }

  /** @param {number} slot @returns {Row} */
  newRow(slot) {
    const { editor } = this;
    const inputs = NUMBERS.map((word, n) => this.newInput(slot, word, n));
    const numbers = inputs.map((input, n) => make("label", {}, t(NUMBERS[n]), input));
    const [name, told, bar] = [make("span", { className: "name" }), make("div"), make("i")];
    const seen = make("div", { className: "seen" }, told, make("div", { className: "meter", "aria-hidden": "true" }, bar));
    const on = make("button", { type: "button", role: "switch", className: "switch", onclick: () => editor.toggle(slot) }, make("i"));
    for (const name of ["aria-label", "title"]) attribute(on, name, `${t("Takes part:")} ${t("subject")} ${slot}`);
    const up = button("up", "Bring forward", () => editor.layer(slot, 1), { slot });
    const down = button("down", "Send back", () => editor.layer(slot, -1), { slot });
    const remove = button("remove", "Remove", () => editor.remove(slot), { slot });
    const root = make(
      "li",
      { className: "row", onfocusin: () => editor.choose(slot), onpointerdown: () => editor.choose(slot) },
      make("div", { className: "who" }, on, make("span", { className: "number" }, String(slot)), name),
      seen,
      make("div", { className: "numbers", role: "group", "aria-label": `${t("Box of subject")} ${slot}, %` }, ...numbers),
      make("div", { className: "does" }, up, down, remove),
    );
    root.style.setProperty("--c", colourOf(slot));
    attribute(root, "data-slot", String(slot));
    const row = { root, name, seen, told, bar, inputs, on: /** @type {HTMLButtonElement} */ (on), up, down };
    this.rows.set(slot, row);
    return row;
  }

  /** @param {number} slot @param {string} word @param {number} n @returns {HTMLInputElement} */
  newInput(slot, word, n) {
    const properties = { type: "number", min: 0, max: 100, step: "any", "aria-label": `${t(word)} ${slot}, %` };
    const input = /** @type {HTMLInputElement} */ (make("input", properties));
    input.addEventListener("change", () => {
      if (Number.isFinite(input.valueAsNumber)) this.editor.place(slot, typed(boxOf(this.editor.layout, slot), n, input.valueAsNumber));
      input.value = String(shown(boxOf(this.editor.layout, slot))[n]);
    });
    return input;
  }
}
