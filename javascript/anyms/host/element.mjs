// <anyms-editor>: waits for the page's fields, then the editor takes its place. Until then, and if that fails, what it encloses is
// shown: one line about the plain fields.

import { Editor } from "../view/editor.mjs?v=0.1.0";
import { watchCards } from "./cards.mjs?v=0.1.0";
import { Fields } from "./fields.mjs?v=0.1.0";
import { tellRefusals } from "./refusal.mjs?v=0.1.0";

/** The page's elements by their fields' prefix. @type {Map<string, AnymsEditor>} */
export const elements = new Map();

export class AnymsEditor extends HTMLElement {
  /** @type {Editor | null} */
  editor = null;

  /** The browser calls this each time the element comes into the page; the host may move it. */
  connectedCallback() {
    const prefix = this.getAttribute("fields") ?? "";
    elements.set(prefix, this);
    if (this.editor) return;
    const fields = new Fields(prefix, this.getAttribute("tab") ?? "", Number(this.getAttribute("slots")));
    const start = () => {
      if (this.editor || !fields.ready) return;
      waiting.disconnect();
      tellRefusals(fields.tab);
      watchCards(fields);
      try {
        this.editor = new Editor(this, fields, Number(this.getAttribute("shown")));
      } catch (error) {
        this.shadowRoot?.replaceChildren(document.createElement("slot")); // the line about the plain fields is seen again
        console.error("AnyMS: the region editor could not start.", error);
      }
    };
    const waiting = new MutationObserver(start);
    waiting.observe(document, { childList: true, subtree: true });
    start();
  }
}
