// The editor: holds the layout and its history, and connects canvas, subject list, toolbar and tools with the page's
// fields.

import { moved, resized, TOKEN } from "../model/boxes.mjs?v=89aa7310";
import { begun, changed, redone, undone } from "../model/history.mjs?v=89aa7310";
import { actionOf } from "../model/keys.mjs?v=89aa7310";
import * as layouts from "../model/layout.mjs?v=89aa7310";
import { allSlots } from "../model/order.mjs?v=89aa7310";
import { hasPictures } from "../host/files.mjs?v=89aa7310";
import { Background } from "./background.mjs?v=89aa7310";
import { Canvas } from "./canvas.mjs?v=89aa7310";
import { CropDialog } from "./crop-dialog.mjs?v=89aa7310";
import { CROP_STYLES } from "./crop-styles.mjs?v=89aa7310";
import { colourOf, make, styleSheet, t, text } from "./dom.mjs?v=89aa7310";
import { Intake } from "./intake.mjs?v=89aa7310";
import { LayoutFiles } from "./layout-files.mjs?v=89aa7310";
import { STYLES } from "./styles.mjs?v=89aa7310";
import { SubjectList } from "./subject-list.mjs?v=89aa7310";
import { Thumbs } from "./thumbs.mjs?v=89aa7310";
import { TOOL_STYLES } from "./tool-styles.mjs?v=89aa7310";
import { Toolbar } from "./toolbar.mjs?v=89aa7310";
import { Tools } from "./tools.mjs?v=89aa7310";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/history.mjs").History<Layout>} LayoutHistory */
/** @typedef {import("../model/keys.mjs").Nudge} Nudge */
/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("../model/layout.mjs").Fact} Fact */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */
/** @typedef {import("../host/fields.mjs").Fields} Fields */

const KEYS =
  "Arrow keys move, with Shift they resize, with Alt by one pixel. " +
  "Brackets change the layer, Delete removes, Control Z undoes.";
const PLACE =
  "Subject {subject}: left {left} %, top {top} %, width {width} %, height {height} %; layer {layer} of {layers}";
const DESCRIPTIONS = {
  visible: `${PLACE}; {share} % visible`,
  off: `${PLACE}; switched off`,
  empty: `${PLACE}; no picture yet`,
};
const DEFAULT_SIZE = { width: 1024, height: 1024 };
/** @type {Fact} */
const EMPTY = { name: "", role: "auto", picture: "" };

export class Editor {
  /**
   * @param {HTMLElement} host element that gets the editor
   * @param {Fields} fields of the page, all of them built
   * @param {number} first number of slots that are shown at first
   */
  constructor(host, fields, first) {
    this.fields = fields;
    this.first = first;
    this.chosen = 0; // slot; 0: none
    this.snapping = true;
    this.plain = false;
    this.refreshing = false;
    this.hostRules = "";
    this.size = fields.size() ?? DEFAULT_SIZE;
    this.facts = this.readFacts();
    /** The layout during a drag. @type {Layout | null} */
    this.previewed = null;
    this.history = begun(this.read());
    this.background = new Background(this);
    this.files = new LayoutFiles(this);
    this.toolbar = new Toolbar(this);
    this.canvas = new Canvas(this);
    this.subjectList = new SubjectList(this);
    this.intake = new Intake(this);
    this.thumbs = new Thumbs(this);
    this.cropDialog = new CropDialog(this);
    this.tools = new Tools(this);
    this.problem = make("div", { className: "problem", role: "alert" });
    this.status = make("div", { className: "visually-hidden", role: "status" });
    // Rules by id for the host's fields: gradio would remove classes of ours.
    this.hostSheet = new CSSStyleSheet();
    this.shadow = host.attachShadow({ mode: "open" });
    this.build(host);
    this.draw();
    this.refresh(); // the fields may have changed since they were read
  }

  /** @param {HTMLElement} host */
  build(host) {
    const { tools, shadow } = this;
    shadow.adoptedStyleSheets = [styleSheet(STYLES + TOOL_STYLES + CROP_STYLES)];
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.hostSheet];
    const keys = make("div", { id: "keys", className: "visually-hidden" }, t(KEYS));
    const mat = make("div", { className: "mat" }, this.canvas.root);
    shadow.append(this.toolbar.root, this.problem, tools.hints.root, mat, tools.hiresOverlay.root);
    shadow.append(this.toolbar.orderLine, this.subjectList.root, tools.root);
    shadow.append(this.status, keys, this.cropDialog.root);
    shadow.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event)));
    shadow.addEventListener("paste", (event) => {
      this.intake.onPaste(/** @type {ClipboardEvent} */ (event), this.slotOf(event));
    });
    for (const kind of ["dragover", "drop"]) {
      host.addEventListener(kind, (event) => this.drag(/** @type {DragEvent} */ (event)));
    }
  }

  // -- the page's fields ----------------------------------------------------------------------------------------------

  readFacts() {
    return allSlots(this.fields.slots).map((slot) => this.fields.fact(slot));
  }

  /** The layout of the fields. Slots shown in `before` stay shown. @type {(before?: Layout) => Layout} */
  read(before) {
    return layouts.fromFields(this.fields.values(), (slot) => this.fact(slot), this.first, before);
  }

  /** @type {(slot: number) => Fact} */
  fact(slot) {
    return this.facts[slot - 1] ?? EMPTY;
  }

  /** The page has changed, perhaps by this editor. Reads it in the next frame, when all changes are done. */
  refresh() {
    if (this.refreshing) return;
    this.refreshing = true;
    requestAnimationFrame(() => {
      this.refreshing = false;
      if (!this.canvas.gesture) this.readPage(); // else the end of the gesture refreshes
    });
  }

  readPage() {
    this.facts = this.readFacts();
    this.size = this.fields.size() ?? this.size;
    const { present } = this.history;
    const layout = this.read(present);
    if (!layouts.same(layout, present)) this.history = changed(this.history, layout, layouts.typing(layout, present));
    this.draw();
  }

  write() {
    const switchOff = (/** @type {number} */ slot) => slot <= this.first || layouts.isFilled(this.fact(slot));
    this.fields.write(this.history.present, switchOff);
  }

  // -- draw -----------------------------------------------------------------------------------------------------------

  get layout() {
    return this.previewed ?? this.history.present;
  }

  get order() {
    return layouts.stacked(this.layout, (slot) => this.fact(slot));
  }

  get shares() {
    return layouts.shares(this.layout, (slot) => this.fact(slot), this.size);
  }

  draw() {
    if (!layouts.shows(this.layout, this.chosen)) this.chosen = 0;
    this.canvas.draw();
    this.subjectList.draw();
    if (!this.previewed) this.thumbs.draw(); // compares megabytes, and a drag changes no picture
    this.toolbar.draw();
    this.tools.draw();
    this.cropDialog.refresh();
    this.styleHost();
  }

  /** Colours the slots' cards as their boxes, and hides slots and plain fields that are not in use. */
  styleHost() {
    const rules = allSlots(this.fields.slots)
      .map((slot) => this.slotRules(slot))
      .join("\n");
    if (rules === this.hostRules) return;
    this.hostRules = rules;
    this.hostSheet.replaceSync(rules);
  }

  /** @param {number} slot */
  slotRules(slot) {
    const selector = (/** @type {string} */ name) => `#${CSS.escape(this.fields.id(name))}`;
    const colour = `${selector(`slot${slot}`)} { border-top: 3px solid ${colourOf(slot)} !important; }`;
    const hidden = [];
    if (!layouts.shows(this.layout, slot)) hidden.push(selector(`slot${slot}`), selector(`slot${slot}_more`));
    if (!this.plain) hidden.push(selector(`slot${slot}_plain`));
    return hidden.length ? `${colour} ${hidden.join(", ")} { display: none !important; }` : colour;
  }

  /** A subject in words, for screen readers. @type {(slot: number) => string} */
  describe(slot) {
    const { layout, order } = this;
    const percent = (/** @type {number} */ part) => Math.round(part * 100);
    const [x0, y0, x1, y1] = layouts.boxOf(layout, slot);
    const share = this.shares.get(slot) ?? null;
    const hidden = layouts.isOff(layout, slot) ? DESCRIPTIONS.off : DESCRIPTIONS.empty;
    return t(share === null ? hidden : DESCRIPTIONS.visible, {
      subject: `${slot} ${this.fact(slot).name.trim()}`.trim(),
      left: percent(x0),
      top: percent(y0),
      width: percent(x1 - x0),
      height: percent(y1 - y0),
      layer: order.indexOf(slot) + 1,
      layers: order.length,
      share: percent(share ?? 0),
    });
  }

  /** Shows a problem; "" removes it. @param {string} sentence */
  complain(sentence) {
    text(this.problem, sentence);
  }

  /** Announces an edit to screen readers. @param {string} announcement */
  say(announcement) {
    text(this.status, announcement);
  }

  // -- edits ----------------------------------------------------------------------------------------------------------

  /** @type {(layout: Layout, announcement?: string, mark?: string) => void} */
  commit(layout, announcement = "", mark = "") {
    text(this.problem, "");
    if (layouts.same(layout, this.history.present)) return;
    this.history = changed(this.history, layout, mark);
    this.write();
    this.draw();
    this.say(announcement || (this.chosen ? this.describe(this.chosen) : ""));
  }

  /** @param {Layout} layout */
  preview(layout) {
    this.previewed = layout;
    this.draw();
  }

  /** @param {boolean} cancelled */
  endPreview(cancelled) {
    const { layout } = this;
    this.previewed = null;
    if (!cancelled) this.commit(layout);
    this.draw();
    this.refresh();
  }

  /** @param {number} slot */
  choose(slot) {
    if (this.chosen === slot) return;
    this.chosen = slot;
    this.draw();
  }

  /** @type {(slot: number, box: Box, mark?: string) => void} */
  place(slot, box, mark = "") {
    this.commit(layouts.withBox(this.history.present, slot, box), "", mark);
  }

  add() {
    const more = layouts.added(this.history.present, (slot) => this.fact(slot), this.fields.slots);
    if (!more) return;
    this.chosen = more.slot;
    this.commit(more.layout, t("Added subject {slot}", { slot: more.slot }));
    this.canvas.focus(more.slot);
  }

  /** Shows one more slot for a picture; 0: all are shown. @type {(mark: string) => number} */
  addSlot(mark) {
    const more = layouts.added(this.history.present, (slot) => this.fact(slot), this.fields.slots);
    if (more) this.commit(more.layout, t("Added subject {slot}", { slot: more.slot }), mark);
    return more?.slot ?? 0;
  }

  /** Removes a subject and focuses the nearest one. @param {number} slot */
  remove(slot) {
    const [x0, y0] = layouts.boxOf(this.layout, slot);
    const distance = (/** @type {layouts.Region} */ { box }) => Math.hypot(box[0] - x0, box[1] - y0);
    const others = this.layout.regions.filter((region) => region.slot !== slot);
    others.sort((one, other) => distance(one) - distance(other));
    this.commit(layouts.removed(this.history.present, slot), t("Removed subject {slot}", { slot }));
    if (others.length) this.canvas.focus(others[0].slot);
    else this.toolbar.add.focus();
  }

  /** Switches a subject off or on. @param {number} slot */
  toggle(slot) {
    const off = !layouts.isOff(this.history.present, slot);
    const announcement = off ? "Subject {slot}: switched off" : "Subject {slot}: switched on";
    this.commit(layouts.switched(this.history.present, slot, off), t(announcement, { slot }));
  }

  /** @type {(slot: number, pictures: Pictures, announcement: string, mark?: string) => void} */
  setPictures(slot, pictures, announcement, mark = "") {
    this.fields.setPictures(slot, pictures);
    this.facts = this.readFacts();
    const layout = layouts.withPictures(this.history.present, slot, pictures, this.fields.slots);
    this.commit(layout, announcement, mark);
  }

  /** @param {number} slot @param {number} steps */
  layer(slot, steps) {
    this.chosen = slot;
    const facts = (/** @type {number} */ other) => this.fact(other);
    this.commit(layouts.restacked(this.history.present, facts, slot, steps, this.fields.slots));
  }

  unorder() {
    this.commit(layouts.unordered(this.history.present), t("The order follows role and size"));
    this.toolbar.add.focus(); // the pressed button is hidden now
  }

  /** @type {(preset: keyof typeof import("../model/presets.mjs").PRESETS, announcement: string) => void} */
  arrange(preset, announcement) {
    this.commit(
      layouts.arranged(this.history.present, (slot) => this.fact(slot), preset),
      announcement,
    );
  }

  undo() {
    this.travel(undone(this.history), t("Undone"));
  }

  redo() {
    this.travel(redone(this.history), t("Redone"));
  }

  /** @type {(history: LayoutHistory, announcement: string) => void} */
  travel(history, announcement) {
    const { past, present } = this.history;
    if (layouts.same(history.present, present) && history.past.length === past.length) return;
    this.history = history;
    for (const slot of layouts.repictured(history.present, present)) {
      this.fields.setPictures(slot, layouts.picturesOf(history.present, slot));
    }
    for (const slot of layouts.renamed(history.present, present)) {
      this.fields.send(`slot${slot}_name`, layouts.nameOf(history.present, slot));
    }
    this.facts = this.readFacts();
    this.write();
    this.draw();
    this.say(announcement);
  }

  toggleSnapping() {
    this.snapping = !this.snapping;
    this.draw();
  }

  togglePlain() {
    this.plain = !this.plain;
    this.draw();
  }

  // -- events ---------------------------------------------------------------------------------------------------------

  /** The slot of the box or list item where an event happened; 0: none. @param {Event} event */
  slotOf(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    return Number(target.closest("[data-slot]")?.getAttribute("data-slot"));
  }

  /** A file dragged over the editor, but not over a box. @param {DragEvent} event */
  drag(event) {
    if (!hasPictures(event.dataTransfer)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type === "drop") this.intake.onDrop(event, 0);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { gesture } = this.canvas;
    if (event.key === "Escape" && gesture) {
      gesture.stop(true);
      return consume(event); // the host would interrupt its job
    }
    const target = /** @type {HTMLElement} */ (event.target);
    if (target instanceof HTMLInputElement || gesture) return;
    const slot = target.classList.contains("box") ? Number(target.dataset.slot) : 0;
    const { key, shiftKey: shift, altKey: alt } = event;
    const action = actionOf({ key, shift, alt, command: event.ctrlKey || event.metaKey, onBox: slot > 0 });
    if (!action) return;
    consume(event);
    if (action.does === "layer") this.layer(slot, action.by);
    else if (action.does === "remove") this.remove(slot);
    else if (action.does === "undo") this.undo();
    else if (action.does === "redo") this.redo();
    else this.nudge(slot, action, event.repeat);
  }

  /** Moves or resizes a box by one step. @type {(slot: number, action: Nudge, held: boolean) => void} */
  nudge(slot, { does, by, fine }, held) {
    const { size, snapping } = this;
    const coarse = snapping ? TOKEN : 8;
    const step = fine ? 1 : coarse;
    /** @type {[number, number]} */
    const shift = [(by[0] * step) / size.width, (by[1] * step) / size.height];
    const grid = snapping && !fine ? TOKEN : 0;
    const box = layouts.boxOf(this.layout, slot);
    const edge = by[0] ? "e" : "s";
    const next = does === "move" ? moved(box, shift, size, grid) : resized(box, edge, shift, size, grid);
    this.place(slot, next, held ? `${does} ${slot}` : ""); // a key held down is one undo step
  }
}

/** @param {Event} event */
function consume(event) {
  event.preventDefault();
  event.stopPropagation();
}
