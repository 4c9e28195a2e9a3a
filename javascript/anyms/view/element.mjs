// <anyms-editor>: waits for the page's fields, then shows the editor. Until then, or if the editor fails, it shows its
// content: a line about the plain fields.

import { watchCards } from "../host/cards.mjs?v=31cf827f";
import { Fields } from "../host/fields.mjs?v=31cf827f";
import { showRefusals } from "../host/refusal.mjs?v=31cf827f";
import { Editor } from "./editor.mjs?v=31cf827f";

/** The page's elements by the prefix of their fields. @type {Map<string, AnymsEditor>} */
export const elements = new Map();

export class AnymsEditor extends HTMLElement {
  /** @type {Editor | null} */
  editor = null;

  /** The browser calls this each time the element enters the page. The host may move it. */
  connectedCallback() {
    const prefix = this.getAttribute("fields") ?? "";
    elements.set(prefix, this);
    if (this.editor) return;
    const fields = new Fields(prefix, this.getAttribute("tab") ?? "", Number(this.getAttribute("slots")));
    const start = () => {
      if (this.editor || !fields.ready) return;
      observer.disconnect();
      this.start(fields);
    };
    const observer = new MutationObserver(start);
    observer.observe(document, { childList: true, subtree: true });
    start();
  }

  /** @param {Fields} fields all of them exist */
  start(fields) {
    showRefusals(fields.tab);
    watchCards(fields);
    try {
      this.editor = new Editor(this, fields, Number(this.getAttribute("shown")));
    } catch (error) {
      this.shadowRoot?.replaceChildren(document.createElement("slot")); // shows the line about the plain fields again
      console.error("AnyMS: the region editor could not start.", error);
    }
  }
}
