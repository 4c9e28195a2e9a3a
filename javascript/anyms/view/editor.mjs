// Holds the layout with its history, and lets stage, rows, toolbar and the host's fields work on it.

import { Aids } from "./tools.mjs?v=0.1.0";
import { AID_STYLES } from "./tool-styles.mjs?v=0.1.0";
import { Background } from "./background.mjs?v=0.1.0";
import { moved, resized, TOKEN } from "../model/boxes.mjs?v=0.1.0";
import { CutDialog } from "./crop-dialog.mjs?v=0.1.0";
import { CUT_STYLES } from "./crop-styles.mjs?v=0.1.0";
import { colourOf, make, t, text } from "./dom.mjs?v=0.1.0";
import { bringsPictures } from "../host/files.mjs?v=0.1.0";
import { Giving } from "./intake.mjs?v=0.1.0";
import { begun, changed, redone, undone } from "../model/history.mjs?v=0.1.0";
import { actionOf } from "../model/keys.mjs?v=0.1.0";
import * as layouts from "../model/layout.mjs?v=0.1.0";
import { LayoutFiles } from "./layout-files.mjs?v=0.1.0";
import { allSlots } from "../model/order.mjs?v=0.1.0";
import { Rows } from "./subject-list.mjs?v=0.1.0";
import { Stage } from "./canvas.mjs?v=0.1.0";
import { STYLES } from "./styles.mjs?v=0.1.0";
import { Thumbs } from "./thumbs.mjs?v=0.1.0";
import { Toolbar } from "./toolbar.mjs?v=0.1.0";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/layout.mjs").Layout} Layout */
/** @typedef {import("../model/layout.mjs").Fact} Fact */
/** @typedef {import("../host/fields.mjs").Fields} Fields */

const KEYS = "Arrow keys move, with Shift they resize, with Alt by one pixel. Brackets change the layer, Delete removes, Control Z undoes.";
const SQUARE = { width: 1024, height: 1024 };
/** @type {Fact} */
const NOTHING = { name: "", role: "auto", picture: "" };

export class Editor {
  /**
   * @param {HTMLElement} host takes the place of the plain form
   * @param {Fields} fields of the page, all there
   * @param {number} first so many slots are shown from the beginning
   */
  constructor(host, fields, first) {
    this.fields = fields;
    this.first = first;
    this.chosen = 0;
    this.snapping = true;
    this.plain = false;
    this.asked = false;
    this.dressed = "";
    this.size = fields.size() ?? SQUARE;
    this.facts = this.readFacts();
    /** @type {Layout | null} */
    this.previewed = null;
    this.history = begun(this.read());
    this.background = new Background(this);
    this.files = new LayoutFiles(this);
    this.toolbar = new Toolbar(this);
    this.stage = new Stage(this);
    this.rows = new Rows(this);
    this.giving = new Giving(this);
    this.thumbs = new Thumbs(this);
    this.cutting = new CutDialog(this);
    this.aids = new Aids(this);
    this.problem = make("div", { className: "problem", role: "alert" });
    this.said = make("div", { className: "unseen", role: "status" });
    this.page = new CSSStyleSheet(); // of the host's fields: gradio would take classes of ours away again
    this.shadow = host.attachShadow({ mode: "open" });
    this.build(host);
    this.draw();
    this.refresh(); // what has changed while this was built
  }

  /** @param {HTMLElement} host */
  build(host) {
    const look = new CSSStyleSheet();
    look.replaceSync(STYLES + AID_STYLES + CUT_STYLES);
    this.shadow.adoptedStyleSheets = [look];
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.page];
    const keys = make("div", { id: "keys", className: "unseen" }, t(KEYS));
    const mat = make("div", { className: "mat" }, this.stage.root);
    const { aids } = this;
    const below = [aids.cut.root, this.toolbar.rule, this.rows.root, aids.root, this.said, keys, this.cutting.root];
    this.shadow.append(this.toolbar.root, this.problem, aids.hints.root, mat, ...below);
    this.shadow.addEventListener("keydown", (event) => this.key(/** @type {KeyboardEvent} */ (event)));
    this.shadow.addEventListener("paste", (event) => this.giving.pasted(/** @type {ClipboardEvent} */ (event), this.slotOf(event)));
    for (const kind of ["dragover", "drop"]) host.addEventListener(kind, (event) => this.drag(/** @type {DragEvent} */ (event)));
  }

  // -- the page's fields --------------------------------------------------------------------------------------------------

  readFacts() {
    return allSlots(this.fields.slots).map((slot) => this.fields.fact(slot));
  }

  /** What the fields tell; what was shown stays shown. @type {(before?: Layout) => Layout} */
  read(before) {
    return layouts.fromFields(this.fields.told(), (slot) => this.fact(slot), this.first, before);
  }

  /** @type {(slot: number) => Fact} */
  fact(slot) {
    return this.facts[slot - 1] ?? NOTHING;
  }

  /** The page has changed, perhaps by ourselves: read it once its own work is done. */
  refresh() {
    if (this.asked) return;
    this.asked = true;
    requestAnimationFrame(() => {
      this.asked = false;
      if (this.stage.gesture) return; // read at its end
      this.facts = this.readFacts();
      this.size = this.fields.size() ?? this.size;
      const told = this.read(this.history.present);
      if (!layouts.same(told, this.history.present)) this.history = changed(this.history, told, layouts.typing(told, this.history.present));
      this.draw();
    });
  }

  write() {
    this.fields.write(this.history.present, (slot) => slot <= this.first || layouts.isFilled(this.fact(slot)));
  }

  // -- what is shown ------------------------------------------------------------------------------------------------------

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
    this.stage.draw();
    this.rows.draw();
    if (!this.previewed) this.thumbs.draw(); // megabytes to compare, and a drag changes none of them
    this.toolbar.draw();
    this.aids.draw();
    this.cutting.hear();
    this.dress();
  }

  /** The host's own fields: cards in the boxes' colours, what is not in use is away. */
  dress() {
    const part = (/** @type {string} */ name) => `#${CSS.escape(this.fields.id(name))}`;
    const rules = allSlots(this.fields.slots).map((slot) => {
      const card = `${part(`slot${slot}`)} { border-top: 3px solid ${colourOf(slot)} !important; }`;
      const away = layouts.shows(this.layout, slot) ? [] : [part(`slot${slot}`), part(`slot${slot}_more`)];
      if (!this.plain) away.push(part(`slot${slot}_plain`));
      return away.length ? `${card} ${away.join(", ")} { display: none !important; }` : card;
    });
    const wanted = rules.join("\n");
    if (wanted === this.dressed) return;
    this.dressed = wanted;
    this.page.replaceSync(wanted);
  }

  /** A region in words, for those who hear the page. @type {(slot: number) => string} */
  describe(slot) {
    const percent = (/** @type {number} */ part) => `${Math.round(part * 100)} %`;
    const [x0, y0, x1, y1] = layouts.boxOf(this.layout, slot);
    const name = this.fact(slot).name.trim();
    const share = this.shares.get(slot) ?? null;
    const none = t(layouts.isOff(this.layout, slot) ? "switched off" : "no picture yet");
    const place = `${t("left")} ${percent(x0)}, ${t("top")} ${percent(y0)}, ${t("width")} ${percent(x1 - x0)}, ${t("height")} ${percent(y1 - y0)}`;
    const layer = `${t("layer")} ${this.order.indexOf(slot) + 1} ${t("of")} ${this.order.length}`;
    const seen = share === null ? none : `${percent(share)} ${t("seen")}`;
    return `${t("Subject")} ${slot}${name ? ` ${name}` : ""}: ${place}; ${layer}; ${seen}`;
  }

  /** What went wrong, in a sentence; "" takes it away. @param {string} words */
  complain(words) {
    text(this.problem, words);
  }

  /** @param {string} words */
  say(words) {
    text(this.said, words);
  }

  // -- edits --------------------------------------------------------------------------------------------------------------

  /** @type {(layout: Layout, words?: string, mark?: string) => void} */
  commit(layout, words = "", mark = "") {
    text(this.problem, "");
    if (layouts.same(layout, this.history.present)) return;
    this.history = changed(this.history, layout, mark);
    this.write();
    this.draw();
    this.say(words || (this.chosen ? this.describe(this.chosen) : ""));
  }

  /** @param {Layout} layout */
  preview(layout) {
    this.previewed = layout;
    this.draw();
  }

  /** @param {boolean} cancelled */
  endPreview(cancelled) {
    const wanted = this.layout;
    this.previewed = null;
    if (!cancelled) this.commit(wanted);
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
    this.commit(more.layout, `${t("Added subject")} ${more.slot}`);
    this.stage.focus(more.slot);
  }

  /** @param {number} slot */
  remove(slot) {
    const [x0, y0] = layouts.boxOf(this.layout, slot);
    const near = (/** @type {import("../model/layout.mjs").Region} */ { box }) => Math.hypot(box[0] - x0, box[1] - y0);
    const rest = this.layout.regions.filter((region) => region.slot !== slot).sort((a, b) => near(a) - near(b));
    this.commit(layouts.removed(this.history.present, slot), `${t("Removed subject")} ${slot}`);
    if (rest.length) this.stage.focus(rest[0].slot);
    else this.toolbar.add.focus();
  }

  /** Takes part no more, or again. @param {number} slot */
  toggle(slot) {
    const off = !layouts.isOff(this.history.present, slot);
    this.commit(layouts.switched(this.history.present, slot, off), `${t("Subject")} ${slot}: ${t(off ? "switched off" : "switched on")}`);
  }

  /** The slot's pictures are these. @type {(slot: number, pictures: import("../model/pictures.mjs").Pictures, words: string, mark?: string) => void} */
  picture(slot, pictures, words, mark = "") {
    this.fields.setPictures(slot, pictures);
    this.facts = this.readFacts();
    this.commit(layouts.withPictures(this.history.present, slot, pictures, this.fields.slots), words, mark);
  }

  /** @param {number} slot @param {number} steps */
  layer(slot, steps) {
    this.chosen = slot;
    const next = layouts.restacked(this.history.present, (other) => this.fact(other), slot, steps, this.fields.slots);
    this.commit(next);
  }

  unorder() {
    this.commit(layouts.unordered(this.history.present), t("The order follows role and size"));
    this.toolbar.add.focus(); // the button that was pressed is gone
  }

  /** @type {(preset: keyof typeof import("../model/presets.mjs").PRESETS, words: string) => void} */
  arrange(preset, words) {
    this.commit(layouts.arranged(this.history.present, (slot) => this.fact(slot), preset), words);
  }

  undo() {
    this.travel(undone(this.history), t("Undone"));
  }

  redo() {
    this.travel(redone(this.history), t("Redone"));
  }

  /** @type {(history: import("../model/history.mjs").History<Layout>, words: string) => void} */
  travel(history, words) {
    if (layouts.same(history.present, this.history.present) && history.past.length === this.history.past.length) return;
    const [slots, named] = [layouts.repictured, layouts.renamed].map((differ) => differ(history.present, this.history.present));
    this.history = history;
    for (const slot of slots) this.fields.setPictures(slot, layouts.picturesOf(history.present, slot));
    for (const slot of named) this.fields.send(`slot${slot}_name`, layouts.nameOf(history.present, slot));
    this.facts = this.readFacts();
    this.write();
    this.draw();
    this.say(words);
  }

  toggleSnapping() {
    this.snapping = !this.snapping;
    this.draw();
  }

  togglePlain() {
    this.plain = !this.plain;
    this.draw();
  }

  /** One more slot, for a picture; 0: all are shown. @type {(mark: string) => number} */
  addSlot(mark) {
    const more = layouts.added(this.history.present, (slot) => this.fact(slot), this.fields.slots);
    if (more) this.commit(more.layout, `${t("Added subject")} ${more.slot}`, mark);
    return more?.slot ?? 0;
  }

  /** The slot in whose box or row something happened; 0: none. @param {Event} event */
  slotOf(event) {
    return Number(/** @type {HTMLElement} */ (event.target).closest("[data-slot]")?.getAttribute("data-slot"));
  }

  /** A file over the editor, but over no box. @param {DragEvent} event */
  drag(event) {
    if (!bringsPictures(event.dataTransfer)) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type === "drop") this.giving.dropped(event, 0);
  }

  // -- keys ---------------------------------------------------------------------------------------------------------------

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "Escape" && this.stage.gesture) {
      this.stage.gesture.stop(true);
      return taken(event); // the host would interrupt its job
    }
    const target = /** @type {HTMLElement} */ (event.target);
    if (target instanceof HTMLInputElement || this.stage.gesture) return;
    const slot = target.classList.contains("box") ? Number(target.dataset.slot) : 0;
    const stroke = { key: event.key, shift: event.shiftKey, alt: event.altKey, command: event.ctrlKey || event.metaKey, onBox: slot > 0 };
    const action = actionOf(stroke);
    if (!action) return;
    taken(event);
    if (action.does === "layer") this.layer(slot, action.by);
    else if (action.does === "remove") this.remove(slot);
    else if (action.does === "undo") this.undo();
    else if (action.does === "redo") this.redo();
    else this.nudge(slot, action, event.repeat);
  }

  /** @type {(slot: number, step: import("../model/keys.mjs").Nudge, held: boolean) => void} */
  nudge(slot, { does, by, fine }, held) {
    const { size } = this;
    const step = fine ? 1 : this.snapping ? TOKEN : 8;
    const shift = /** @type {const} */ ([(by[0] * step) / size.width, (by[1] * step) / size.height]);
    const grid = this.snapping && !fine ? TOKEN : 0;
    const box = layouts.boxOf(this.layout, slot);
    const next = does === "move" ? moved(box, shift, size, grid) : resized(box, by[0] ? "e" : "s", shift, size, grid);
    this.place(slot, next, held ? `${does} ${slot}` : "");
  }
}

/** @param {Event} event */
function taken(event) {
  event.preventDefault();
  event.stopPropagation();
}
