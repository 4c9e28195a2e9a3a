// The user's own arrangements: to keep, to use again, to take along as a file.

import { button, make, t } from "./dom.mjs?v=0.1.0";
import { chosenFiles } from "../host/files.mjs?v=0.1.0";
import { download } from "./layout-files.mjs?v=0.1.0";
import { applied, dropped, kept, presetOf, readPresets, writePresets } from "../model/saved-layouts.mjs?v=0.1.0";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/saved-layouts.mjs").Presets} Presets */

const KEY = "anyms-arrangements"; // in localStorage, the same for both tabs

/** A browser that keeps nothing (private windows, blocked storage) has none. @type {() => Presets} */
function stored() {
  try {
    return readPresets(localStorage.getItem(KEY));
  } catch {
    return {};
  }
}

export class OwnList {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.listed = "";
    this.select = /** @type {HTMLSelectElement} */ (make("select", { "aria-label": t("My arrangements"), onchange: () => this.draw() }));
    this.name = /** @type {HTMLInputElement} */ (make("input", { type: "text", maxLength: 60, placeholder: t("name"), "aria-label": t("Name of a new arrangement") }));
    this.name.addEventListener("keydown", (event) => event.key === "Enter" && !event.ctrlKey && !event.metaKey && this.keep());
    this.use = button("check", "Use it", () => this.apply(), { shown: true });
    this.drop = button("remove", "Delete the arrangement", () => this.remove());
    const choosing = make("div", {}, this.select, this.use, this.drop);
    const keeping = make("div", {}, this.name, button("add", "Keep this one", () => this.keep(), { shown: true }));
    const files = make("div", {}, button("save", "Save my arrangements as a file", () => this.save()), button("open", "Open a file of arrangements", () => void this.open()));
    const body = make("div", { className: "body" }, choosing, keeping, files);
    this.root = make("details", { className: "own" }, make("summary", {}, t("My arrangements")), body);
  }

  draw() {
    const names = Object.keys(stored()).sort((one, other) => one.localeCompare(other));
    const listed = JSON.stringify(names);
    if (listed !== this.listed) {
      this.listed = listed;
      const chosen = this.select.value;
      const options = names.length ? names.map((name) => make("option", { value: name }, name)) : [make("option", { value: "" }, t("none kept yet"))];
      this.select.replaceChildren(...options);
      if (names.includes(chosen)) this.select.value = chosen;
    }
    this.select.disabled = this.use.disabled = this.drop.disabled = !names.length;
  }

  /** @type {(presets: Presets, words: string) => void} */
  store(presets, words) {
    const { editor } = this;
    try {
      localStorage.setItem(KEY, writePresets(presets));
    } catch {
      return editor.complain(t("This browser keeps nothing for this page. Save the layout as a file."));
    }
    editor.complain("");
    this.draw();
    editor.say(words);
  }

  keep() {
    const { editor } = this;
    const name = this.name.value.trim();
    const preset = presetOf(editor.layout, (slot) => editor.fact(slot));
    const presets = kept(stored(), name, preset);
    if (!presets) return editor.complain(t("An arrangement needs a name and a box, and at most 100 are kept. Type a name, or delete one."));
    this.store(presets, `${t("Kept arrangement")} ${name}`);
    this.name.value = "";
    this.select.value = name;
  }

  remove() {
    const name = this.select.value;
    this.store(dropped(stored(), name), `${t("Deleted arrangement")} ${name}`);
    if (this.drop.disabled) this.name.focus();
  }

  apply() {
    const { editor } = this;
    const name = this.select.value;
    const preset = stored()[name];
    if (!preset) return;
    editor.commit(applied(editor.layout, (slot) => editor.fact(slot), preset, editor.fields.slots), `${t("Arranged as")} ${name}`);
  }

  save() {
    download(writePresets(stored()), "arrangements.json");
  }

  async open() {
    const [file] = await chosenFiles(".json,application/json", false);
    const found = file ? readPresets(await file.text()) : {};
    const count = Object.keys(found).length;
    if (!count) return this.editor.complain(t("There are no arrangements in this file. Choose one that was saved here."));
    this.store(readPresets(writePresets({ ...stored(), ...found })), `${t("Arrangements read:")} ${count}`);
  }
}
