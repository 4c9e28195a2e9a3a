// Shows hints at their subjects and boxes, and announces warnings to screen readers.

import { attribute, icon, make, t, text, textButton } from "./dom.mjs?v=31cf827f";
import { hints, MESSAGES } from "../model/hints.mjs?v=31cf827f";
import { addToPrompt, prompts } from "../host/page.mjs?v=31cf827f";
import { picturesOf } from "../model/layout.mjs?v=31cf827f";
import { allSlots } from "../model/order.mjs?v=31cf827f";

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
    this.shown = new Map();
    this.problem = make("span");
    this.count = -1; // of missing files that the notice shows
    this.files = make("strong");
    this.progress = make("span", { className: "download-progress" });
    this.download = textButton("", () => this.startDownload());
    this.choose = textButton(t("I have them"), () => editor.fields.showFiles());
    const buttons = make("span", { className: "buttons" }, this.download, this.choose);
    this.lacks = make("div", { className: "lacks" }, this.files, buttons, this.progress);
    this.details = make("details", {}, make("summary", {}, t("Which ones")), this.problem);
    this.notice = make("div", { className: "notice", hidden: true }, this.lacks, this.details);
    editor.fields.watchDownload((sentence, running) => this.showDownload(sentence, running));
    this.announcement = make("div", { className: "visually-hidden", "aria-live": "polite" });
    this.root = make("div", {}, this.notice, this.announcement);
    this.lists = make("div", { className: "hint-lists" });
  }

  draw() {
    const { editor } = this;
    const all = hints(editor.layout, (slot) => editor.fact(slot), this.page());
    for (const [slot, { root }] of editor.filmStrip.items) {
      const mine = all.filter((hint) => hint.slot === slot);
      const warned = mine.some(({ kind }) => kind === "warning");
      root.classList.toggle("warned", warned);
      this.drawList(slot, mine);
      this.drawBox(slot, mine, warned);
    }
    for (const [slot, { list }] of this.shown) {
      if (!editor.filmStrip.items.has(slot)) list.hidden = true;
    }
    const problem = this.modelProblem();
    this.notice.hidden = problem === "";
    this.drawLacking();
    text(this.problem, problem);
    if (!editor.canvas.gesture) this.announce(problem, all); // a warning may come and go during a drag
  }

  /** Number and size of missing files; without them the sentence alone is shown. */
  drawLacking() {
    const { count = 0, size = "" } = this.editor.fields.lacking();
    this.lacks.hidden = count === 0;
    this.details.classList.toggle("plain", count === 0);
    if (this.count !== count) /** @type {HTMLDetailsElement} */ (this.details).open = count === 0;
    this.count = count;
    const sentence = count > 1 ? "{count} model files are missing ({size})." : "A model file is missing ({size}).";
    text(this.files, t(sentence, { count, size }));
    text(this.download, t(count > 1 ? "Download both" : "Download it"));
  }

  startDownload() {
    text(this.progress, t("The download begins…"));
    this.editor.fields.press("files_all");
  }

  /** @type {(sentence: string, running: boolean) => void} */
  showDownload(sentence, running) {
    text(this.progress, sentence);
    if (!running) this.editor.tools.checkAgain();
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
    return picturesOf(this.editor.layout, slot).flatMap((address) => this.sizeOf(address) ?? []);
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
    const { fields, layout } = this.editor;
    const used = new Set(allSlots(fields.slots).flatMap((slot) => picturesOf(layout, slot)));
    for (const address of this.sizes.keys()) {
      if (!used.has(address)) this.sizes.delete(address);
    }
  }

  /**
   * Lists of other subjects than the inspected one stay for screen readers.
   * @type {(slot: number, mine: readonly Hint[]) => void}
   */
  drawList(slot, mine) {
    const shown = this.shown.get(slot) ?? this.newList(slot);
    shown.list.hidden = !mine.length;
    shown.list.classList.toggle("visually-hidden", slot !== this.editor.inspected);
    const content = mine.map(({ kind, message }) => `${kind} ${message}`).join("\n");
    if (content === shown.content) return;
    shown.content = content;
    const lines = mine.map(({ kind, message }) => {
      const line = make("li", { className: kind }, icon(kind), make("span", {}, t(message)));
      if (message === MESSAGES.unnamed) line.append(this.newRemedy(slot));
      return line;
    });
    shown.list.replaceChildren(...lines);
  }

  /** @param {number} slot */
  newList(slot) {
    const label = t("Hints for subject {slot}", { slot });
    const list = make("ul", { className: "hints", id: `hints${slot}`, "data-slot": String(slot), "aria-label": label });
    const shown = { list, content: "" };
    this.shown.set(slot, shown);
    this.lists.append(list);
    return shown;
  }

  /** @param {number} slot */
  newRemedy(slot) {
    const { editor } = this;
    return textButton(t("Add it to the prompt"), () => addToPrompt(editor.fields.tab, editor.fact(slot).name.trim()));
  }

  /** @type {(slot: number, mine: readonly Hint[], warned: boolean) => void} */
  drawBox(slot, mine, warned) {
    const box = this.editor.canvas.boxes.get(slot)?.root;
    if (!box) return;
    box.classList.toggle("warned", warned);
    attribute(box, "aria-describedby", mine.length ? `hints${slot} keys` : "keys");
  }
}
