// The panel's first line: how many subjects are on, what to do first while there is none, and the picture's size.

import { make, t, text } from "./dom.mjs?v=31cf827f";
import { takesPart } from "../model/layout.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

const HELP = "Drop a picture of each subject, name it in the prompt, and drag its box where you want it.";

export class Header {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.count = make("span", { className: "pill" });
    this.adapter = make("span", { className: "pill ready", hidden: true });
    this.help = make("span", { className: "first-help" }, t(HELP));
    this.shape = make("span", { className: "shape" });
    this.root = make("div", { className: "header" }, this.count, this.adapter, this.help, this.shape);
  }

  draw() {
    const { editor } = this;
    text(this.shape, `${editor.size.width} × ${editor.size.height}`);
    const filled = editor.layout.regions.filter(({ slot }) => editor.filled(slot));
    const on = filled.filter(({ slot }) => takesPart(editor.layout, (other) => editor.fact(other), slot)).length;
    text(this.count, t("{on} of {all} subjects on", { on, all: filled.length }));
    this.count.hidden = filled.length === 0;
    this.help.hidden = filled.length > 0;
    const ready = editor.fields.adapterName();
    this.adapter.hidden = !ready || !filled.length || editor.tools.hints.modelProblem() !== "";
    text(this.adapter, t("{adapter} ready", { adapter: ready }));
  }
}
