// The toolbar above the canvas, and the line below it about the layer order.

import { button, make, t, text, textButton } from "./dom.mjs?v=89aa7310";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("./dom.mjs").Icon & keyof typeof import("../model/presets.mjs").PRESETS} Preset */

/** @type {[Preset, string][]} */
const ARRANGEMENTS = [
  ["sideBySide", "Place side by side"],
  ["thirds", "Place on thirds"],
  ["grid", "Place on a grid"],
  ["groupPhoto", "Place as a group photo"],
];

export class Toolbar {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.undo = button("undo", t("Undo"), () => editor.undo());
    this.redo = button("redo", t("Redo"), () => editor.redo());
    this.add = button("add", t("Add subject"), () => editor.add(), { shown: true });
    this.add.className = "add";
    this.snap = button("snap", t("Snap to the token grid"), () => editor.toggleSnapping());
    this.plain = button("fields", t("Show the plain fields"), () => editor.togglePlain());
    this.shape = make("span", { className: "shape" });
    this.root = this.newBar();
    this.sentences = make("span");
    this.propose = textButton(t("Order by role and size"), () => editor.unorder());
    this.orderLine = make("div", { className: "order-line" }, this.sentences, this.propose);
  }

  newBar() {
    const { editor } = this;
    const presets = ARRANGEMENTS.map(([preset, label]) =>
      button(preset, t(label), () => editor.arrange(preset, t(label))),
    );
    const save = button("save", t("Save the layout as a file"), () => editor.files.save());
    const openLabel = t("Open a layout file or a picture made by AnyMS");
    const open = button("open", openLabel, () => void editor.files.open());
    const groups = [[this.add], [this.undo, this.redo], presets, [this.snap], [save, open, this.plain]];
    const properties = { className: "bar", role: "toolbar", "aria-label": t("Region tools") };
    const parts = groups.map((buttons) => make("div", {}, ...buttons));
    return make("div", properties, ...parts, editor.background.select, this.shape);
  }

  draw() {
    const { editor } = this;
    this.undo.disabled = !editor.history.past.length;
    this.redo.disabled = !editor.history.future.length;
    this.add.disabled = editor.order.length >= editor.fields.slots;
    this.snap.setAttribute("aria-pressed", String(editor.snapping));
    this.plain.setAttribute("aria-pressed", String(editor.plain));
    text(this.shape, `${editor.size.width} × ${editor.size.height}`);
    const proposed = editor.layout.order === null;
    const rule = proposed ? "Attributes and smaller boxes lie on top." : "The order is yours.";
    text(this.sentences, `${t("Where boxes overlap, the topmost wins.")} ${t(rule)}`);
    this.propose.hidden = proposed;
  }
}
