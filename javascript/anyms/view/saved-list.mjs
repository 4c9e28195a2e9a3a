// The panel of saved arrangements: save, apply, delete, and exchange as a file.

import { button, make, t } from "./dom.mjs?v=31cf827f";
import { chooseFiles, downloadJson } from "../host/files.mjs?v=31cf827f";
import * as saved from "../model/saved-layouts.mjs?v=31cf827f";
import { textOf } from "../model/text.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {import("../model/saved-layouts.mjs").Presets} Presets */

const KEY = "anyms-arrangements"; // in localStorage; both tabs share it

/** Presets in the browser; none if it stores nothing (private window, blocked storage). @type {() => Presets} */
function stored() {
  try {
    return saved.readPresets(localStorage.getItem(KEY));
  } catch {
    return {};
  }
}

export class SavedList {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.listed = "";
    const list = make("select", { "aria-label": t("Saved layouts"), onchange: () => this.draw() });
    this.select = /** @type {HTMLSelectElement} */ (list);
    this.name = this.newName();
    this.applyButton = button("check", t("Use the saved layout"), () => this.apply(), { shown: true });
    this.deleteButton = button("remove", t("Delete the saved layout"), () => this.delete());
    const saveButton = button("add", t("Save current"), () => this.save(), { shown: true });
    const files = [
      button("save", t("Save the saved layouts as a file"), () => this.saveFile()),
      button("open", t("Open a file of saved layouts"), () => void this.openFile()),
    ];
    const groups = [[this.select, this.applyButton, this.deleteButton], [this.name, saveButton], files];
    const body = make("div", { className: "body" }, ...groups.map((nodes) => make("div", {}, ...nodes)));
    this.root = make("details", { className: "saved" }, make("summary", {}, t("Saved layouts")), body);
  }

  newName() {
    const label = t("Name of a layout to save");
    const properties = { type: "text", maxLength: 60, placeholder: t("name"), "aria-label": label };
    const input = /** @type {HTMLInputElement} */ (make("input", properties));
    input.addEventListener("keydown", (event) => {
      // With Ctrl or Cmd, Enter is the host's Generate.
      if (event.key === "Enter" && !event.ctrlKey && !event.metaKey) this.save();
    });
    return input;
  }

  draw() {
    const names = Object.keys(stored()).sort((one, other) => one.localeCompare(other));
    this.list(names);
    for (const control of [this.select, this.applyButton, this.deleteButton]) control.disabled = !names.length;
  }

  /** @param {readonly string[]} names */
  list(names) {
    const listed = JSON.stringify(names);
    if (listed === this.listed) return;
    this.listed = listed;
    const chosen = this.select.value;
    const options = names.map((name) => make("option", { value: name }, name));
    if (!options.length) options.push(make("option", { value: "" }, t("none saved yet")));
    this.select.replaceChildren(...options);
    if (names.includes(chosen)) this.select.value = chosen;
  }

  /** @type {(presets: Presets, announcement: string) => void} */
  store(presets, announcement) {
    const { editor } = this;
    try {
      localStorage.setItem(KEY, saved.writePresets(presets));
    } catch {
      return editor.complain(t("This browser stores nothing for this page. Save the layout as a file."));
    }
    editor.complain("");
    this.draw();
    editor.answer(announcement);
  }

  save() {
    const { editor } = this;
    const name = this.name.value.trim();
    const preset = saved.presetOf(editor.layout, (slot) => editor.fact(slot));
    const presets = saved.withPreset(stored(), name, preset);
    if (!presets) {
      const most = saved.MAX_PRESETS;
      const problem = "A saved layout needs a name and a box, and at most {most} fit. Type a name, or delete one.";
      return editor.complain(t(problem, { most }));
    }
    this.store(presets, t("Saved layout {name}", { name }));
    this.name.value = "";
    this.select.value = name;
  }

  delete() {
    const name = this.select.value;
    this.store(saved.withoutPreset(stored(), name), t("Deleted the saved layout {name}", { name }));
    if (this.deleteButton.disabled) this.name.focus(); // a disabled button loses the focus
  }

  apply() {
    const { editor } = this;
    const name = this.select.value;
    const preset = stored()[name];
    if (!preset) return;
    const layout = saved.applied(editor.layout, (slot) => editor.fact(slot), preset, editor.fields.slots);
    editor.commit(layout, t("Applied layout {name}", { name }));
  }

  saveFile() {
    downloadJson(saved.writePresets(stored()), "arrangements.json");
  }

  async openFile() {
    const [file] = await chooseFiles(".json,application/json", false);
    const presets = file ? saved.readPresets(await textOf(file)) : {};
    if (!Object.keys(presets).length) {
      return this.editor.complain(t("There are no saved layouts in this file. Choose a file that was saved here."));
    }
    const { presets: all, added, rejected } = saved.merged(stored(), presets);
    this.store(all, t("Opened layouts: {count}", { count: added }));
    const most = saved.MAX_PRESETS;
    const problem = "At most {most} layouts fit. Not opened: {rejected}. Delete some, then open the file again.";
    if (rejected) this.editor.complain(t(problem, { most, rejected }));
  }
}
