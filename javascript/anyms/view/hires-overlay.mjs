// What a hires fix to another aspect cuts off, shaded on the stage and said below it.

import { make, t } from "./dom.mjs?v=0.1.0";
import { hiresFrame } from "../host/page.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */

export class Cut {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.shade = make("div", { className: "cut", hidden: true, "aria-hidden": "true" });
    this.root = make("div", { className: "cutnote", hidden: true }, t("The hires fix has another shape: it cuts the shaded parts off."));
  }

  draw() {
    const { editor, shade } = this;
    if (shade.parentNode !== editor.stage.root) editor.stage.root.append(shade);
    const cuts = editor.shadow.host.getAttribute("hires") !== "stretches";
    const frame = cuts ? hiresFrame(editor.fields.tab, editor.size) : null;
    shade.hidden = this.root.hidden = frame === null;
    if (!frame) return;
    const [x0, y0, x1, y1] = frame.map((edge) => `${(edge * 100).toFixed(2)}%`);
    const hole = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]].map((point) => point.join(" ")).join(", ");
    shade.style.clipPath = `polygon(evenodd, 0 0, 100% 0, 100% 100%, 0 100%, 0 0, ${hole})`;
  }
}
