// The buttons above the stage, and the line below it that says who lies on top.

import { button, make, t, text } from "./dom.mjs?v=0.1.0";

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
    this.undo = button("undo", "Undo", () => editor.undo());
    this.redo = button("redo", "Redo", () => editor.redo());
    this.add = button("add", "Add subject", () => editor.add(), { shown: true });
    this.add.className = "add";
    this.snap = button("snap", "Snap to the token grid", () => editor.toggleSnapping());
    this.plain = button("fields", "Show the plain fields", () => editor.togglePlain());
    this.shape = make("span", { className: "shape" });
    const presets = ARRANGEMENTS.map(([preset, words]) => button(preset, words, () => editor.arrange(preset, t(words))));
    const open = button("open", "Open a layout file or a picture made by AnyMS", () => editor.files.open());
    const files = [button("save", "Save the layout as a file", () => editor.files.save()), open];
    const groups = [[this.add], [this.undo, this.redo], presets, [this.snap], [...files, this.plain]];
    const parts = groups.map((buttons) => make("div", {}, ...buttons));
    this.root = make("div", { className: "bar", role: "toolbar", "aria-label": t("Region tools") }, ...parts, editor.background.select, this.shape);

    this.told = make("span");
    this.propose = make("button", { type: "button", onclick: () => editor.unorder() }, t("Order by role and size"));
    this.rule = make("div", { className: "rule" }, this.told, this.propose);
  }

  draw() {
    const { editor } = this;
    this.undo.disabled = !editor.history.past.length;
    this.redo.disabled = !editor.history.future.length;
    this.add.disabled = editor.order.length >= editor.fields.slots;
    this.snap.setAttribute("aria-pressed", String(editor.snapping));
    this.plain.setAttribute("aria-pressed", String(editor.plain));
    text(this.shape, `${editor.size.width} × ${editor.size.height}`);
    const mine = editor.layout.order !== null;
    text(this.told, `${t("Where boxes overlap the topmost wins.")} ${t(mine ? "The order is yours." : "Attributes and smaller boxes lie on top.")}`);
    this.propose.hidden = !mine;
  }
}
