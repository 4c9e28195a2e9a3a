// Shows hints at their subjects and boxes, and announces warnings to screen readers.

import { attribute, icon, make, t, text } from "./dom.mjs?v=89aa7310";
import { hints } from "../model/hints.mjs?v=89aa7310";
import { prompts } from "../host/page.mjs?v=89aa7310";
import { allSlots } from "../model/order.mjs?v=89aa7310";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/hints.mjs").Hint} Hint */
/** @typedef {import("../model/boxes.mjs").Size} Size */

export class HintList {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** Sizes of pictures by address; null while a picture loads. @type {Map<string, Size | null>} */
    this.sizes = new Map();
    /** @type {Map<number, {list: HTMLElement, content: string}>} */
    this.lists = new Map();
    this.notice = make("div", { className: "notice", hidden: true });
    this.announcement = make("div", { className: "visually-hidden", "aria-live": "polite" });
    this.root = make("div", {}, this.notice, this.announcement);
  }

  draw() {
    const { editor } = this;
    const all = hints(editor.layout, (slot) => editor.fact(slot), this.page());
    for (const [slot, { root }] of editor.subjectList.items) {
      const mine = all.filter((hint) => hint.slot === slot);
      this.drawList(slot, root, mine);
      this.drawBox(slot, mine);
    }
    const problem = this.modelProblem();
    this.notice.hidden = problem === "";
    text(this.notice, problem);
    if (!editor.canvas.gesture) this.announce(problem, all); // a warning may come and go during a drag
  }

  /** @type {(problem: string, all: readonly Hint[]) => void} */
  announce(problem, all) {
    const sentences = problem ? [problem] : [];
    for (const { slot, kind, message } of all) {
      if (kind === "warning") sentences.push(t("Subject {slot}: {message}", { slot, message: t(message) }));
    }
    text(this.announcement, sentences.join(" "));
  }

  /** @returns {import("../model/hints.mjs").Page} */
  page() {
    const { size, fields } = this.editor;
    const pictures = (/** @type {number} */ slot) => this.sizesOf(slot);
    return { size, prompts: prompts(fields.tab), fit: fields.entry("fit").value, pictures };
  }

  /** The server's message about model files or the checkpoint; "" if there is no problem. */
  modelProblem() {
    return this.editor.fields.entry("found").value.trim();
  }

  /** The sizes known so far. @type {(slot: number) => Size[]} */
  sizesOf(slot) {
    return this.editor.fields.pictures(slot).flatMap((address) => this.sizeOf(address) ?? []);
  }

  /** @type {(address: string) => Size | null} */
  sizeOf(address) {
    const known = this.sizes.get(address);
    if (known !== undefined) return known;
    this.forgetUnused();
    this.sizes.set(address, null);
    const image = new Image();
    image.addEventListener("load", () => {
      this.sizes.set(address, { width: image.naturalWidth, height: image.naturalHeight });
      this.editor.refresh();
    });
    image.src = address;
    return null;
  }

  /** An address holds a whole picture, so old ones must not stay in memory. */
  forgetUnused() {
    const { fields } = this.editor;
    const used = new Set(allSlots(fields.slots).flatMap((slot) => fields.pictures(slot)));
    for (const address of this.sizes.keys()) {
      if (!used.has(address)) this.sizes.delete(address);
    }
  }

  /** @type {(slot: number, item: HTMLElement, mine: readonly Hint[]) => void} */
  drawList(slot, item, mine) {
    const shown = this.lists.get(slot) ?? this.newList(slot);
    if (shown.list.parentNode !== item) item.append(shown.list);
    shown.list.hidden = !mine.length;
    const content = mine.map(({ kind, message }) => `${kind} ${message}`).join("\n");
    if (content === shown.content) return;
    shown.content = content;
    const lines = mine.map(({ kind, message }) => {
      return make("li", { className: kind }, icon(kind), make("span", {}, t(message)));
    });
    shown.list.replaceChildren(...lines);
  }

  /** @param {number} slot */
  newList(slot) {
    const shown = { list: make("ul", { className: "hints", id: `hints${slot}` }), content: "" };
    this.lists.set(slot, shown);
    return shown;
  }

  /** @type {(slot: number, mine: readonly Hint[]) => void} */
  drawBox(slot, mine) {
    const box = this.editor.canvas.boxes.get(slot)?.root;
    if (!box) return;
    const warned = mine.some(({ kind }) => kind === "warning");
    box.classList.toggle("warned", warned);
    attribute(box, "aria-describedby", mine.length ? `hints${slot} keys` : "keys");
  }
}
