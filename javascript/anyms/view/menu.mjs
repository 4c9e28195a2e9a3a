// A button that opens a panel with more buttons. Escape, a press elsewhere, and a press on a button in it close it.

import { make } from "./dom.mjs?v=31cf827f";

let count = 0;

export class Menu {
  /**
   * @param {string} label translated
   * @param {...Node} content
   */
  constructor(label, ...content) {
    count += 1;
    const id = `menu${count}`;
    const aria = { "aria-expanded": "false", "aria-controls": id };
    const properties = { type: "button", className: "opens", onclick: () => this.show(this.panel.hidden), ...aria };
    this.button = /** @type {HTMLButtonElement} */ (make("button", properties, label));
    this.panel = make("div", { className: "panel", id, role: "group", "aria-label": label, hidden: true }, ...content);
    this.root = make("div", { className: "menu" }, this.button, this.panel);
    this.panel.addEventListener("click", (event) => {
      const pressed = /** @type {HTMLElement} */ (event.target).closest("button");
      if (pressed && !pressed.hasAttribute("aria-pressed")) this.show(false);
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.outside = (/** @type {Event} */ event) => {
      if (!event.composedPath().includes(this.root)) this.show(false);
    };
  }

  /** @param {boolean} open */
  show(open) {
    const focused = this.panel.contains(/** @type {ShadowRoot} */ (this.root.getRootNode()).activeElement);
    this.panel.hidden = !open;
    this.button.setAttribute("aria-expanded", String(open));
    if (open) this.fit();
    if (open) document.addEventListener("pointerdown", this.outside, true);
    else document.removeEventListener("pointerdown", this.outside, true);
    if (!open && focused) this.button.focus({ preventScroll: true });
  }

  /** Keeps the panel inside the editor. */
  fit() {
    this.panel.style.left = "";
    const editor = /** @type {HTMLElement} */ (this.root.closest(".desk") ?? this.root);
    const over = this.panel.getBoundingClientRect().right - editor.getBoundingClientRect().right;
    if (over > 0) this.panel.style.left = `${-over}px`;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key !== "Escape" || this.panel.hidden) return;
    event.stopPropagation(); // the host would interrupt its job
    event.preventDefault();
    this.show(false);
  }
}
