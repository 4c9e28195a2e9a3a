// What helps to see and to judge a layout: hints, who owns which token, what is cut off, comparisons, own arrangements.

import { button, make, t } from "./dom.mjs?v=0.1.0";
import { Cut } from "./hires-overlay.mjs?v=0.1.0";
import { HintList } from "./hint-list.mjs?v=0.1.0";
import { checkpoint, generate, watch } from "../host/page.mjs?v=0.1.0";
import { takesPart } from "../model/layout.mjs?v=0.1.0";
import { OwnList } from "./saved-list.mjs?v=0.1.0";
import { Owners } from "./token-map.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** The page's editors by tab. @type {Map<string, Editor>} */
const editors = new Map();
const TABS = { txt2img: "img2img", img2img: "txt2img" };
const SETTLES = 150; // milliseconds within which gradio has taken a value over

/** @type {(milliseconds: number) => Promise<void>} */
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export class Aids {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.hints = new HintList(editor);
    this.owners = new Owners(editor);
    this.cut = new Cut(editor);
    this.own = new OwnList(editor);
    this.other = TABS[/** @type {keyof typeof TABS} */ (editor.fields.tab)];
    this.compare = button("compare", "Compare three ways", () => this.ask("comparison"), { shown: true });
    this.maps = button("maps", "Show where each acts", () => this.ask("maps"), { shown: true });
    this.copy = button("copy", `Copy to ${this.other}`, () => this.copyOver(), { shown: true });
    const tips = {
      compare: "Makes the same seed without AnyMS, as masked sum and with AnyMS, with the boxes on a sheet",
      maps: "Makes a picture, and for each subject a map of where it changes the picture",
    };
    this.compare.title = t(tips.compare);
    this.maps.title = t(tips.maps);
    const doing = make("div", {}, this.compare, this.maps, this.copy);
    this.root = make("div", { className: "bar aids", role: "group", "aria-label": t("Judge and reuse the layout") }, doing, this.owners.control, this.own.root);
    watch(editor.fields.tab, () => editor.refresh());
    editors.set(editor.fields.tab, editor);
  }

  draw() {
    this.hints.draw();
    this.owners.draw();
    this.cut.draw();
    this.own.draw();
    this.copy.hidden = this.otherEditor === undefined;
    const none = !this.taking.length;
    for (const each of [this.compare, this.maps, this.copy]) each.disabled = none;
    if (!none) this.check();
  }

  /** Whether files and checkpoint are as they must be is asked once, and again for another checkpoint. */
  check() {
    const wanted = `checkpoint ${checkpoint()}`;
    const { fields } = this.editor;
    if (this.editor.stage.gesture || fields.entry("check").value === wanted) return;
    fields.send("check", wanted);
  }

  /** One Generate with something beside its picture. @param {"comparison" | "maps"} what */
  async ask(what) {
    const { fields } = this.editor;
    fields.send("asked", what);
    this.editor.say(t(what === "comparison" ? "Three pictures are being made" : "A picture and its maps are being made"));
    await pause(SETTLES);
    generate(fields.tab);
    await pause(SETTLES);
    fields.send("asked", "");
  }

  /** The subjects that are sent, back to front. */
  get taking() {
    const { editor } = this;
    return editor.order.filter((slot) => takesPart(editor.layout, (other) => editor.fact(other), slot));
  }

  get otherEditor() {
    return editors.get(this.other);
  }

  /** Subjects, places and pictures to the other tab; what is there goes. */
  async copyOver() {
    const { editor, otherEditor } = this;
    if (!otherEditor) return;
    const slots = this.taking; // in this order they come to lie in the other's slots
    const pictures = slots.map((slot) => editor.fields.pictures(slot));
    const layout = editor.files.exported(slots);
    for (let slot = 1; slot <= otherEditor.fields.slots; slot++) otherEditor.fields.setPictures(slot, pictures[slot - 1] ?? []);
    await pause(SETTLES);
    otherEditor.files.take(layout);
    editor.say(`${t("Copied to")} ${this.other}`);
  }
}

