// The editor: holds the layout and its history, and connects stage, film strip, inspector, toolbar and tools with the
// page's fields.

import { begun, changed, redone, undone } from "../model/history.mjs?v=31cf827f";
import * as layouts from "../model/layout.mjs?v=31cf827f";
import { allSlots } from "../model/order.mjs?v=31cf827f";
import { hasPictures } from "../host/files.mjs?v=31cf827f";
import { Autosave } from "./autosave.mjs?v=31cf827f";
import { Background } from "./background.mjs?v=31cf827f";
import { BoxBar } from "./box-bar.mjs?v=31cf827f";
import { Canvas } from "./canvas.mjs?v=31cf827f";
import { CropDialog } from "./crop-dialog.mjs?v=31cf827f";
import { described } from "./description.mjs?v=31cf827f";
import { DropChoice } from "./drop-choice.mjs?v=31cf827f";
import { CROP_STYLES } from "./crop-styles.mjs?v=31cf827f";
import { make, styleSheet, t, text } from "./dom.mjs?v=31cf827f";
import { FilmStrip } from "./film-strip.mjs?v=31cf827f";
import { GiveDialog } from "./give-dialog.mjs?v=31cf827f";
import { Header } from "./header.mjs?v=31cf827f";
import { Inspector } from "./inspector.mjs?v=31cf827f";
import { hostRules } from "./host-styles.mjs?v=31cf827f";
import { Intake } from "./intake.mjs?v=31cf827f";
import { LayoutFiles } from "./layout-files.mjs?v=31cf827f";
import { STRIP_STYLES } from "./strip-styles.mjs?v=31cf827f";
import { STYLES } from "./styles.mjs?v=31cf827f";
import { KEYS, pressed } from "./keyboard.mjs?v=31cf827f";
import { LargerView } from "./larger-view.mjs?v=31cf827f";
import { Thumbs } from "./thumbs.mjs?v=31cf827f";
import { TOOL_STYLES } from "./tool-styles.mjs?v=31cf827f";
import { Toast } from "./toast.mjs?v=31cf827f";
import { Toolbar } from "./toolbar.mjs?v=31cf827f";
import { Tools } from "./tools.mjs?v=31cf827f";
import * as verbs from "./verbs.mjs?v=31cf827f";
import { Zoom } from "./zoom.mjs?v=31cf827f";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/history.mjs").History<Layout>} LayoutHistory */
/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("../model/layout.mjs").Fact} Fact */
/** @typedef {import("../model/pictures.mjs").Pictures} Pictures */
/** @typedef {import("../host/fields.mjs").Fields} Fields */
/** @typedef {import("../model/boxes.mjs").Size} Size */
/** @typedef {Map<number, number | null>} ShareMap visible shares by slot */
/** @typedef {{layout: Layout, facts: Fact[], size: Size, shares: ShareMap}} Shares */

const DEFAULT_SIZE = { width: 1024, height: 1024 };
/** @type {Fact} */
const EMPTY = { name: "", role: "auto", picture: "" };
const TYPING_PAUSE = 250; // milliseconds without a letter until hints are drawn: typing stays as fast as without us

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
    this.unfolded = false; // whether the inspector shows position, timing and layers
    this.inspected = 0; // slot that the inspector shows, also after the box was deselected; 0: none
    this.refreshing = false;
    this.hostRules = "";
    this.size = fields.size() ?? DEFAULT_SIZE;
    this.facts = this.readFacts();
    /** The layout during a drag. @type {Layout | null} */
    this.previewed = null;
    this.frame = 0; // number of the requested frame; 0: none
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.hintTimer = undefined;
    /** The last result of `shares`, and what it was computed from. @type {Shares | null} */
    this.lastShares = null;
    this.history = begun(this.read());
    this.background = new Background(this);
    this.files = new LayoutFiles(this);
    this.canvas = new Canvas(this);
    this.zoom = new Zoom(this);
    this.toolbar = new Toolbar(this);
    this.header = new Header(this);
    this.boxBar = new BoxBar(this);
    this.filmStrip = new FilmStrip(this);
    this.inspector = new Inspector(this);
    this.dropChoice = new DropChoice(this);
    this.intake = new Intake(this);
    this.thumbs = new Thumbs(this);
    this.cropDialog = new CropDialog(this);
    this.giveDialog = new GiveDialog(this);
    this.tools = new Tools(this);
    this.toast = new Toast(this);
    this.autosave = new Autosave(this, host.getAttribute("keeps") !== "no");
    this.problem = make("div", { className: "problem", role: "alert" });
    this.status = make("div", { className: "visually-hidden", role: "status" });
    // Rules by id for the host's fields: gradio would remove classes of ours.
    this.hostSheet = new CSSStyleSheet();
    this.shadow = host.attachShadow({ mode: "open" });
    this.build(host);
    /** @type {Record<string, string>} */
    this.help = JSON.parse(host.getAttribute("help") ?? "{}");
    this.explain("");
    this.draw();
    this.refresh(); // the fields may have changed since they were read
  }

  /** @param {HTMLElement} host */
  build(host) {
    const { tools, shadow } = this;
    shadow.adoptedStyleSheets = [styleSheet(STYLES + TOOL_STYLES + STRIP_STYLES + CROP_STYLES)];
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.hostSheet];
    const keys = make("div", { id: "keys", className: "visually-hidden" }, t(KEYS));
    const stage = make("div", { className: "stage" }, this.zoom.root, this.boxBar.root);
    this.mat = make("div", { className: "mat" }, stage);
    const parts = [this.toolbar.root, this.problem, this.mat, this.toast.root, this.dropChoice.root];
    this.desk = make("div", { className: "desk" }, ...parts);
    this.largerView = new LargerView(this);
    shadow.append(this.header.root, this.autosave.root, tools.hints.root, this.desk, tools.hiresOverlay.root);
    shadow.append(this.filmStrip.root, tools.hints.lists, this.status, keys);
    shadow.append(this.cropDialog.root, this.giveDialog.root, this.largerView.root);
    shadow.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event)));
    shadow.addEventListener("copy", (event) => verbs.copy(this, /** @type {ClipboardEvent} */ (event)));
    shadow.addEventListener("paste", (event) => {
      this.intake.onPaste(/** @type {ClipboardEvent} */ (event), this.slotOf(event));
    });
    document.addEventListener("paste", (event) => this.intake.onPasteElsewhere(event));
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

  /** A letter of the prompt was typed: only hints depend on it, and they wait for a pause. */
  repaintHints() {
    clearTimeout(this.hintTimer);
    this.hintTimer = setTimeout(() => this.tools.hints.draw(), TYPING_PAUSE);
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

  /** @type {Map<number, number | null>} */
  get shares() {
    const { layout, facts, size } = this;
    const last = this.lastShares;
    if (last?.layout === layout && last.facts === facts && last.size === size) return last.shares;
    const shares = layouts.shares(layout, (slot) => this.fact(slot), size);
    this.lastShares = { layout, facts, size, shares };
    return shares;
  }

  draw() {
    if (!layouts.shows(this.layout, this.chosen)) this.chosen = 0;
    if (this.chosen) this.inspected = this.chosen;
    else if (!layouts.shows(this.layout, this.inspected)) this.inspected = this.layout.regions[0]?.slot ?? 0;
    this.canvas.draw();
    this.boxBar.draw();
    this.filmStrip.draw();
    this.tools.draw();
    if (this.previewed) return this.inspector.draw(); // a drag changes nothing else
    this.header.draw();
    this.inspector.draw();
    this.thumbs.draw();
    this.toolbar.draw();
    this.zoom.draw();
    this.autosave.draw();
    this.cropDialog.refresh();
    this.styleHost();
  }

  styleHost() {
    const rules = hostRules(this);
    if (rules !== this.hostRules) this.hostSheet.replaceSync(rules);
    this.hostRules = rules;
  }

  /** A subject in words, for screen readers. @type {(slot: number) => string} */
  describe(slot) {
    return described(this, slot);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    pressed(this, event);
  }

  /** Whether a slot has a picture or a name. @param {number} slot */
  filled(slot) {
    return layouts.isFilled(this.fact(slot));
  }

  /** Shows a problem; "" removes it. @param {string} sentence */
  complain(sentence) {
    text(this.problem, sentence);
  }

  /** Shows the answer to a press, and announces it. @param {string} sentence */
  answer(sentence) {
    this.say(sentence);
    this.toast.show(sentence, false);
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
    this.send(layout, this.history.present);
    this.history = changed(this.history, layout, mark);
    this.write();
    this.draw();
    this.say(announcement || (this.chosen ? this.describe(this.chosen) : ""));
    if (announcement) this.toast.show(announcement, true);
  }

  /** Writes the pictures, names and settings that differ. @type {(to: Layout, from: Layout) => void} */
  send(to, from) {
    for (const slot of layouts.repictured(to, from)) this.fields.setPictures(slot, layouts.picturesOf(to, slot));
    for (const [slot, field, value] of layouts.rewritten(to, from)) this.fields.send(`slot${slot}_${field}`, value);
    this.facts = this.readFacts();
  }

  /** Shows a drag, once a frame. @param {Layout} layout */
  preview(layout) {
    const waiting = this.previewed !== null && this.frame !== 0;
    this.previewed = layout;
    if (waiting) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.previewed) this.draw();
    });
  }

  /** @param {boolean} cancelled */
  endPreview(cancelled) {
    const { layout } = this;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
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

  /** Shows the help of the fields whose element ids begin with `prefix`. @param {string} prefix */
  explain(prefix) {
    const help = Object.entries(this.help).map(([name, sentence]) => [name, t(sentence)]);
    this.fields.explain(prefix, Object.fromEntries(help));
  }

  deselect() {
    this.chosen = 0;
    /** @type {HTMLElement | null} */ (this.shadow.activeElement)?.blur();
    this.draw();
    this.say(t("No subject is selected"));
  }

  /** @type {(slot: number, box: Box, mark?: string) => void} */
  place(slot, box, mark = "") {
    this.commit(layouts.withBox(this.history.present, slot, box), "", mark);
  }

  /** Shows one more slot for a picture; 0: all are shown. @type {(mark: string) => number} */
  addSlot(mark) {
    const more = layouts.added(this.history.present, (slot) => this.fact(slot), this.fields.slots);
    if (more) this.commit(more.layout, t("Added subject {slot}", { slot: more.slot }), mark);
    return more?.slot ?? 0;
  }

  /** @type {(slot: number, changes: layouts.Settings, announcement: string) => void} */
  set(slot, changes, announcement) {
    const layout = layouts.withSettings(this.history.present, slot, changes, this.fields.slots);
    this.commit(layout, announcement);
  }

  /** @type {(slot: number, pictures: Pictures, announcement: string, mark?: string) => void} */
  setPictures(slot, pictures, announcement, mark = "") {
    const layout = layouts.withPictures(this.history.present, slot, pictures, this.fields.slots);
    this.commit(layout, announcement, mark);
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
    this.send(history.present, present);
    this.write();
    this.draw();
    this.say(announcement);
  }

  toggleSnapping() {
    this.snapping = !this.snapping;
    this.draw();
  }

  toggleFold() {
    this.unfolded = !this.unfolded;
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

}
