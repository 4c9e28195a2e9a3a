// What gradio does not show of the inspected subject: its role, and in a fold its box in numbers and its UNet blocks.

import { percents, typed } from "../model/boxes.mjs?v=31cf827f";
import { attribute, make, styleSheet, t, text, textButton } from "./dom.mjs?v=31cf827f";
import { boxOf, settingsOf } from "../model/layout.mjs?v=31cf827f";
import { AUTO, proposedRole } from "../model/order.mjs?v=31cf827f";
import { STRIP_STYLES } from "./strip-styles.mjs?v=31cf827f";
import { STYLES } from "./styles.mjs?v=31cf827f";
import * as verbs from "./verbs.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

const NUMBERS = [
  { label: "left", name: "left of subject {slot}, %" },
  { label: "top", name: "top of subject {slot}, %" },
  { label: "width", name: "width of subject {slot}, %" },
  { label: "height", name: "height of subject {slot}, %" },
];
/** @type {Record<string, string>} */
const ROLES = { auto: "auto", background: "background", subject: "subject", attribute: "detail" };
/** @type {Record<string, string>} */
const AUTO_ROLES = { background: "auto: background", subject: "auto: subject", attribute: "auto: detail" };
const TIPS = {
  auto: "By the subject's name",
  background: "Behind all others; presets give it the whole picture",
  subject: "In front of backgrounds; smaller boxes in front of larger ones",
  attribute: "In front of all: a hat, glasses, a bag",
};
/** @type {Record<string, string>} */
const BLOCKS = {
  all: "all layers",
  style: "style",
  composition: "composition",
  "all but style": "all but style",
  "all but composition": "all but composition",
};

export class Inspector {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.slot = 0;
    /** @type {string | number} The silhouette that is shown. */
    this.drawn = "";
    this.host = document.createElement("div");
    this.inputs = NUMBERS.map((_, n) => this.newInput(n));
    this.roles = new Segments(Object.keys(ROLES), (role) => this.setRole(role));
    this.blocks = new Segments(Object.keys(BLOCKS), (blocks) => this.setBlocks(blocks));
    this.fold = textButton(t("Position, timing, layers"), () => editor.toggleFold(), { className: "fold" });
    this.numbers = make("div", { className: "numbers", role: "group" });
    this.numbers.append(...this.inputs.map((input, n) => make("label", {}, t(NUMBERS[n].label), input)));
    this.fit = textButton(t("Fit box to picture"), () => verbs.fit(editor, this.slot));
    this.mask = /** @type {HTMLImageElement} */ (make("img", { className: "mask", alt: "" }));
    this.unmask = textButton(t("Remove"), () => verbs.setSilhouette(editor, this.slot, ""));
    const choose = textButton(t("Choose a mask…"), () => void verbs.chooseSilhouette(editor, this.slot));
    const caption = make("span", { className: "caption" }, t("Silhouette"));
    this.silhouette = make("div", { className: "roles" }, caption, this.mask, choose, this.unmask);
    this.silhouette.title = t("A mask of the whole picture, white where the subject is within its box");
    const row = (/** @type {string} */ label, /** @type {Segments} */ { root }) =>
      make("div", { className: "roles" }, make("span", { className: "caption" }, label), root);
    const acts = row(t("Acts on"), this.blocks);
    this.folded = make("div", { className: "folded" }, this.numbers, this.fit, this.silhouette, acts);
    const roles = row(t("Role"), this.roles);
    const shadow = this.host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [styleSheet(STYLES + STRIP_STYLES)];
    shadow.append(make("div", { className: "inspect" }, roles, this.fold, this.folded));
    shadow.addEventListener("keydown", (event) => editor.key(/** @type {KeyboardEvent} */ (event)));
  }

  draw() {
    const { editor } = this;
    const slot = editor.inspected;
    const place = slot ? editor.fields.inspectorArea(slot) : null;
    if (!place) return;
    if (this.host.parentNode !== place) place.replaceChildren(this.host);
    if (slot !== this.slot) this.label(slot);
    const focused = this.host.shadowRoot?.activeElement;
    percents(boxOf(editor.layout, slot)).forEach((percent, n) => {
      if (focused !== this.inputs[n]) this.inputs[n].value = String(percent);
    });
    const { role, blocks, silhouette } = settingsOf(editor.layout, slot);
    const known = String(role) in ROLES ? String(role) : AUTO;
    const auto = AUTO_ROLES[proposedRole(editor.fact(slot).name)];
    this.roles.draw(known, (value) => t(value === AUTO ? auto : ROLES[value]));
    if (silhouette !== this.drawn) this.mask.src = String(silhouette);
    this.drawn = silhouette;
    this.mask.hidden = this.unmask.hidden = !silhouette;
    this.blocks.draw(String(blocks), (value) => t(BLOCKS[value]));
    attribute(this.fold, "aria-expanded", String(editor.unfolded));
    this.folded.hidden = !editor.unfolded;
  }

  /** @param {number} slot */
  label(slot) {
    this.slot = slot;
    this.editor.explain(`slot${slot}_`);
    this.inputs.forEach((input, n) => attribute(input, "aria-label", t(NUMBERS[n].name, { slot })));
    attribute(this.numbers, "aria-label", t("Box of subject {slot}, %", { slot }));
    this.roles.label(t("Role of subject {slot}", { slot }), (role) => t(TIPS[/** @type {keyof typeof TIPS} */ (role)]));
    this.blocks.label(t("UNet blocks in which subject {slot} acts", { slot }), () => "");
  }

  /** @param {string} role */
  setRole(role) {
    const { slot } = this;
    this.editor.set(slot, { role }, t("Role of subject {slot}: {role}", { slot, role: t(ROLES[role]) }));
  }

  /** @param {string} blocks */
  setBlocks(blocks) {
    const { slot } = this;
    this.editor.set(slot, { blocks }, t("Subject {slot} acts on: {blocks}", { slot, blocks: t(BLOCKS[blocks]) }));
  }

  /** @param {number} n @returns {HTMLInputElement} */
  newInput(n) {
    const input = /** @type {HTMLInputElement} */ (make("input", { type: "number", min: 0, max: 100, step: "any" }));
    const box = () => boxOf(this.editor.layout, this.slot);
    input.addEventListener("change", () => {
      if (Number.isFinite(input.valueAsNumber)) this.editor.place(this.slot, typed(box(), n, input.valueAsNumber));
      input.value = String(percents(box())[n]);
    });
    return input;
  }
}

/** One choice among a few, as a row of buttons; arrows move it. */
class Segments {
  /**
   * @param {readonly string[]} values
   * @param {(value: string) => void} choose
   */
  constructor(values, choose) {
    this.values = values;
    this.choose = choose;
    this.buttons = values.map((value) => textButton("", () => choose(value), { role: "radio" }));
    this.root = make("div", { className: "segments", role: "radiogroup" }, ...this.buttons);
    this.root.addEventListener("keydown", (event) => this.key(event));
  }

  /** @type {(label: string, tip: (value: string) => string) => void} */
  label(label, tip) {
    attribute(this.root, "aria-label", label);
    this.buttons.forEach((button, n) => (button.title = tip(this.values[n])));
  }

  /** @type {(chosen: string, label: (value: string) => string) => void} */
  draw(chosen, label) {
    this.buttons.forEach((button, n) => {
      text(button, label(this.values[n]));
      attribute(button, "aria-checked", String(this.values[n] === chosen));
      button.tabIndex = this.values[n] === chosen ? 0 : -1;
    });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    const from = this.buttons.indexOf(/** @type {HTMLButtonElement} */ (event.target));
    if (!step || from < 0) return;
    event.preventDefault();
    const next = (from + step + this.values.length) % this.values.length;
    this.choose(this.values[next]);
    this.buttons[next].focus();
  }
}
