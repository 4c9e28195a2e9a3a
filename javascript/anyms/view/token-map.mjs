// Debug view: which subject owns which token, at either resolution of the UNet's cross-attention layers.

import { ownersOf, tokenGrid } from "../model/boxes.mjs?v=0.1.0";
import { colourOf, make, t } from "./dom.mjs?v=0.1.0";
import { boxOf, takesPart } from "../model/layout.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */

const LEVELS = ["Owners: not shown", "Owners: fine layers", "Owners: coarse layers"]; // by how often the latent is halved there

export class Owners {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.canvas = /** @type {HTMLCanvasElement} */ (make("canvas", { className: "owners", hidden: true, "aria-hidden": "true" }));
    const options = LEVELS.map((words, halvings) => make("option", { value: String(halvings) }, t(words)));
    this.select = /** @type {HTMLSelectElement} */ (make("select", { "aria-label": t("Show who owns each token") }, ...options));
    this.select.addEventListener("change", () => editor.draw());
    this.told = make("span", { className: "told" });
    this.control = make("div", { className: "levels" }, this.select, this.told);
  }

  draw() {
    const { editor, canvas } = this;
    const halvings = Number(this.select.value);
    if (canvas.parentNode !== editor.stage.root) editor.stage.root.prepend(canvas);
    canvas.hidden = halvings === 0;
    editor.stage.root.classList.toggle("owning", halvings > 0);
    this.told.textContent = "";
    if (!halvings) return;
    const grid = tokenGrid(editor.size, halvings);
    const slots = editor.order.filter((slot) => takesPart(editor.layout, (other) => editor.fact(other), slot));
    const owners = ownersOf(slots.map((slot) => boxOf(editor.layout, slot)), grid);
    this.told.textContent = `${grid.columns} × ${grid.rows} ${t("tokens")}`;
    Object.assign(canvas, { width: grid.columns, height: grid.rows }); // one pixel a token; this empties it
    const pen = canvas.getContext("2d");
    if (!pen) return;
    owners.forEach((owner, token) => {
      if (owner < 0) return;
      pen.fillStyle = colourOf(slots[owner]);
      pen.fillRect(token % grid.columns, Math.floor(token / grid.columns), 1, 1);
    });
  }
}
