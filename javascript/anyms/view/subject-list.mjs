// The list of subjects, topmost first: number fields for each box, layers, and the visible share.

import { fitted } from "../model/boxes.mjs?v=89aa7310";
import { attribute, button, colourOf, make, t, text } from "./dom.mjs?v=89aa7310";
import { boxOf, isOff } from "../model/layout.mjs?v=89aa7310";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("./editor.mjs").Editor} Editor */
/**
 * @typedef {{root: HTMLElement, name: HTMLElement, visibility: HTMLElement, state: HTMLElement, bar: HTMLElement,
 * inputs: HTMLInputElement[], on: HTMLElement, up: HTMLButtonElement, down: HTMLButtonElement}} Item
 */

const NUMBERS = [
  { label: "left", name: "left of subject {slot}, %" },
  { label: "top", name: "top of subject {slot}, %" },
  { label: "width", name: "width of subject {slot}, %" },
  { label: "height", name: "height of subject {slot}, %" },
];

/** Left, top, width and height in percent. @type {(box: Box) => number[]} */
function percents([x0, y0, x1, y1]) {
  return [x0, y0, x1 - x0, y1 - y0].map((part) => Math.round(part * 1000) / 10);
}

/**
 * The box after one number was typed: left and top move it, width and height keep its corner.
 * @type {(box: Box, n: number, percent: number) => Box}
 */
export function typed(box, n, percent) {
  const part = percent / 100;
  const edges = [...box];
  const near = n % 2; // index of the left or top edge
  const far = near + 2;
  if (n >= 2) {
    edges[far] = edges[near] + Math.max(0, part);
    return fitted(edges);
  }
  const side = box[far] - box[near];
  edges[near] = Math.min(Math.max(part, 0), 1 - side);
  edges[far] = edges[near] + box[far] - box[near];
  return fitted(edges);
}

export class SubjectList {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** @type {Map<number, Item>} */
    this.items = new Map();
    this.root = make("ol", { className: "subjects", "aria-label": t("Subjects, topmost first") });
  }

  draw() {
    const focused = /** @type {HTMLButtonElement | null} */ (this.editor.shadow.activeElement);
    this.drawItems();
    if (!focused || !this.root.contains(focused)) return;
    // Moving an item in the page takes its focus away, and so does disabling its button.
    const pairs = [...this.items.values()].map(({ up, down }) => [up, down]);
    const pair = pairs.find((buttons) => buttons.includes(focused));
    const next = focused.disabled ? pair?.find((button) => !button.disabled) : focused;
    next?.focus({ preventScroll: true });
  }

  drawItems() {
    const topmost = [...this.editor.order].reverse();
    const roots = topmost.map((slot) => this.drawItem(slot));
    for (const slot of this.items.keys()) {
      if (!topmost.includes(slot)) this.items.delete(slot);
    }
    const { children } = this.root;
    if (roots.length === children.length && roots.every((root, n) => root === children[n])) return;
    this.root.replaceChildren(...roots);
  }

  /** @param {number} slot @returns {HTMLElement} */
  drawItem(slot) {
    const item = this.items.get(slot) ?? this.newItem(slot);
    const { layout, order, chosen } = this.editor;
    const name = this.editor.fact(slot).name.trim();
    text(item.name, name || t("subject {slot}", { slot }));
    item.name.classList.toggle("unnamed", !name);
    item.root.classList.toggle("chosen", slot === chosen);
    percents(boxOf(layout, slot)).forEach((percent, n) => {
      if (this.editor.shadow.activeElement !== item.inputs[n]) item.inputs[n].value = String(percent);
    });
    this.drawVisibility(slot, item);
    item.up.disabled = order.indexOf(slot) === order.length - 1;
    item.down.disabled = order.indexOf(slot) === 0;
    return item.root;
  }

  /** @param {number} slot @param {Item} item */
  drawVisibility(slot, item) {
    const share = this.editor.shares.get(slot) ?? null;
    const percent = Math.round((share ?? 0) * 100);
    const off = isOff(this.editor.layout, slot);
    attribute(item.on, "aria-checked", String(!off));
    item.root.classList.toggle("off", off);
    text(item.state, stateOf(share, percent, off));
    item.visibility.classList.toggle("hidden", share !== null && percent === 0);
    item.bar.style.width = `${percent}%`;
  }

  /** @param {number} slot @returns {Item} */
  newItem(slot) {
    const { editor } = this;
    const inputs = NUMBERS.map((_, n) => this.newInput(slot, n));
    const name = make("span", { className: "name" });
    const state = make("div");
    const bar = make("i");
    const meter = make("div", { className: "meter", "aria-hidden": "true" }, bar);
    const visibility = make("div", { className: "visibility" }, state, meter);
    const on = this.newSwitch(slot);
    const up = button("up", t("Bring subject {slot} forward", { slot }), () => editor.layer(slot, 1));
    const down = button("down", t("Send subject {slot} back", { slot }), () => editor.layer(slot, -1));
    const remove = button("remove", t("Remove subject {slot}", { slot }), () => editor.remove(slot));
    const choose = () => editor.choose(slot);
    const root = make(
      "li",
      { className: "subject", "data-slot": String(slot), onfocusin: choose, onpointerdown: choose },
      make("div", { className: "identity" }, on, make("span", { className: "number" }, String(slot)), name),
      visibility,
      this.newNumbers(slot, inputs),
      make("div", { className: "actions" }, up, down, remove),
    );
    root.style.setProperty("--c", colourOf(slot));
    const item = { root, name, visibility, state, bar, inputs, on, up, down };
    this.items.set(slot, item);
    return item;
  }

  /** @param {number} slot */
  newSwitch(slot) {
    const label = t("Subject {slot} takes part", { slot });
    const onclick = () => this.editor.toggle(slot);
    const aria = { role: "switch", "aria-label": label };
    return make("button", { type: "button", className: "switch", title: label, onclick, ...aria }, make("i"));
  }

  /** @param {number} slot @param {HTMLInputElement[]} inputs */
  newNumbers(slot, inputs) {
    const labels = inputs.map((input, n) => make("label", {}, t(NUMBERS[n].label), input));
    const aria = { role: "group", "aria-label": t("Box of subject {slot}, %", { slot }) };
    return make("div", { className: "numbers", ...aria }, ...labels);
  }

  /** @param {number} slot @param {number} n @returns {HTMLInputElement} */
  newInput(slot, n) {
    const name = t(NUMBERS[n].name, { slot });
    const properties = { type: "number", min: 0, max: 100, step: "any", "aria-label": name };
    const input = /** @type {HTMLInputElement} */ (make("input", properties));
    const box = () => boxOf(this.editor.layout, slot);
    input.addEventListener("change", () => {
      if (Number.isFinite(input.valueAsNumber)) this.editor.place(slot, typed(box(), n, input.valueAsNumber));
      input.value = String(percents(box())[n]);
    });
    return input;
  }
}

/** @type {(share: number | null, percent: number, off: boolean) => string} */
function stateOf(share, percent, off) {
  if (off) return t("off");
  if (share === null) return t("no picture yet");
  return percent ? t("{percent} % visible", { percent }) : t("hidden");
}
