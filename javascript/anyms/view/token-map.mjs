// Debug view: which subject owns each token, in the UNet's fine or coarse cross-attention layers.

import { ownersOf, tokenGrid } from "../model/boxes.mjs?v=31cf827f";
import { colourOf, make, t } from "./dom.mjs?v=31cf827f";
import { boxOf, takesPart } from "../model/layout.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

// The index is the number of times that these layers halve the latent.
const LEVELS = ["Ownership map: off", "Ownership map: fine layers", "Ownership map: coarse layers"];

export class TokenMap {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    const hidden = { className: "token-map", hidden: true, "aria-hidden": "true" };
    this.map = /** @type {HTMLCanvasElement} */ (make("canvas", hidden));
    const options = LEVELS.map((label, halvings) => make("option", { value: String(halvings) }, t(label)));
    const list = make("select", { "aria-label": t("Show which subject owns each token") }, ...options);
    this.select = /** @type {HTMLSelectElement} */ (list);
    this.select.addEventListener("change", () => editor.draw());
    this.gridSize = make("span", { className: "grid-size" });
    this.control = make("div", { className: "token-levels" }, this.select, this.gridSize);
  }

  draw() {
    const { map } = this;
    const { root } = this.editor.canvas;
    const halvings = Number(this.select.value);
    if (map.parentNode !== root) root.prepend(map);
    map.hidden = halvings === 0;
    root.classList.toggle("shows-tokens", halvings > 0);
    this.gridSize.textContent = "";
    if (halvings) this.paint(halvings);
  }

  /** @param {number} halvings */
  paint(halvings) {
    const { editor, map } = this;
    const { columns, rows } = tokenGrid(editor.size, halvings);
    this.gridSize.textContent = t("{columns} × {rows} tokens", { columns, rows });
    Object.assign(map, { width: columns, height: rows }); // one pixel per token; this clears the canvas
    const context = map.getContext("2d");
    if (!context) return;
    const slots = editor.order.filter((slot) => takesPart(editor.layout, (other) => editor.fact(other), slot));
    const boxes = slots.map((slot) => boxOf(editor.layout, slot));
    ownersOf(boxes, { columns, rows }).forEach((owner, token) => {
      if (owner < 0) return;
      context.fillStyle = colourOf(slots[owner]);
      context.fillRect(token % columns, Math.floor(token / columns), 1, 1);
    });
  }
}
