// The toolbar above the stage: add, undo, and three menus.

import { button, make, t, text, textButton } from "./dom.mjs?v=31cf827f";
import { Menu } from "./menu.mjs?v=31cf827f";
import * as verbs from "./verbs.mjs?v=31cf827f";

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
    this.add = button("add", t("Add subject"), () => verbs.add(editor), { shown: true });
    this.add.className = "add";
    this.snap = button("snap", t("Snap to the token grid"), () => editor.toggleSnapping(), { shown: true });
    this.plain = button("fields", t("Show the number fields"), () => editor.togglePlain(), { shown: true });
    this.enlarge = button("enlarge", t("Larger view"), () => editor.largerView?.toggle());
    this.sentences = make("span");
    this.propose = textButton(t("Order by role and size"), () => verbs.unorder(editor));
    this.orderLine = make("div", { className: "order-line" }, this.sentences, this.propose);
    this.arrangeMore = make("div", { className: "more-tools" });
    this.more = make("div", { className: "more-tools" }); // gets the tools' parts
    this.menus = this.newMenus();
    this.root = this.newBar();
  }

  newMenus() {
    const { editor } = this;
    const presets = ARRANGEMENTS.map(([preset, label]) =>
      button(preset, t(label), () => verbs.arrange(editor, preset, t(label)), { shown: true }),
    );
    const saveLabel = t("Save the layout as a file");
    const save = button("save", saveLabel, () => editor.files.save(), { shown: true });
    const openLabel = t("Open a layout file or a picture made by AnyMS");
    const open = button("open", openLabel, () => void editor.files.open(), { shown: true });
    return [
      new Menu(t("Arrange"), ...presets, this.arrangeMore, this.orderLine),
      new Menu(t("More"), this.snap, this.plain, save, open, this.more),
    ];
  }

  newBar() {
    const { editor } = this;
    const properties = { className: "bar", role: "toolbar", "aria-label": t("Region tools") };
    const [arrange, more] = this.menus.map((menu) => menu.root);
    const steps = make("div", {}, this.undo, this.redo);
    const end = make("div", { className: "end" }, editor.zoom.controls, this.enlarge);
    return make("div", properties, this.add, steps, arrange, editor.background.select, more, end);
  }

  draw() {
    const { editor } = this;
    this.undo.disabled = !editor.history.past.length;
    this.redo.disabled = !editor.history.future.length;
    this.add.disabled = editor.order.length >= editor.fields.slots;
    this.snap.setAttribute("aria-pressed", String(editor.snapping));
    this.plain.setAttribute("aria-pressed", String(editor.plain));
    const proposed = editor.layout.order === null;
    const rule = proposed ? "Details and smaller boxes lie on top." : "The order is yours.";
    text(this.sentences, `${t("Where boxes overlap, the topmost wins.")} ${t(rule)}`);
    this.propose.hidden = proposed;
  }
}
