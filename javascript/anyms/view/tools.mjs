// Tools to judge and reuse a layout: hints, token map, hires overlay, comparison, maps, copy to the other tab, saved
// arrangements.

import { button, make, styleSheet, t } from "./dom.mjs?v=31cf827f";
import { HiresOverlay } from "./hires-overlay.mjs?v=31cf827f";
import { HintList } from "./hint-list.mjs?v=31cf827f";
import { EXTRA_OUTPUT } from "../host/fields.mjs?v=31cf827f";
import { checkpoint, generate, prompts, setPrompt, watchPage } from "../host/page.mjs?v=31cf827f";
import { readLayout } from "../model/exchange.mjs?v=31cf827f";
import { takesPart } from "../model/layout.mjs?v=31cf827f";
import { allSlots } from "../model/order.mjs?v=31cf827f";
import { writePositions } from "../model/positions.mjs?v=31cf827f";
import { STRIP_STYLES } from "./strip-styles.mjs?v=31cf827f";
import { STYLES } from "./styles.mjs?v=31cf827f";
import { SavedList } from "./saved-list.mjs?v=31cf827f";
import { TokenMap } from "./token-map.mjs?v=31cf827f";

/** @typedef {import("./editor.mjs").Editor} Editor */

/** The page's editors by tab. @type {Map<string, Editor>} */
const editors = new Map();
const OTHER_TAB = { txt2img: "img2img", img2img: "txt2img" };
const GRADIO_DELAY = 400; // milliseconds in which gradio takes over a new value, also on a busy machine
const TIPS = {
  compare: "Generates one seed three times: without AnyMS, as masked sum and with AnyMS, and a sheet with the boxes",
  words: "Generates one seed twice: with the main prompt everywhere and with the subjects' prompts, and a sheet",
  positions: "Writes into the prompt where each box is: on the left, at the top",
  maps: "Generates a picture, and for each subject a map of where it changes the picture",
  refine: "Generates a picture, and then inpaints each subject once, larger",
};

/** What each extra output of one Generate makes. */
const GENERATING = {
  comparison: "Generating three pictures",
  words: "Generating two pictures",
  maps: "Generating a picture and its maps",
  refine: "Generating a picture, then each subject again",
};

/** @type {(milliseconds: number) => Promise<void>} */
const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

export class Tools {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    this.hints = new HintList(editor);
    this.tokenMap = new TokenMap(editor);
    this.hiresOverlay = new HiresOverlay(editor);
    this.savedList = new SavedList(editor);
    this.otherTab = OTHER_TAB[/** @type {keyof typeof OTHER_TAB} */ (editor.fields.tab)];
    this.compare = button("compare", t("Compare three ways"), () => this.request("comparison"), { shown: true });
    this.compareWords = button("compare-words", t("Compare prompts"), () => this.request("words"), { shown: true });
    this.maps = button("maps", t("Influence maps"), () => this.request("maps"), { shown: true });
    this.refine = button("refine", t("Refine subjects"), () => this.request("refine"), { shown: true });
    this.positions = button("positions", t("Write positions"), () => this.writePositions(), { shown: true });
    this.copy = button("copy", t("Copy to {tab}", { tab: this.otherTab }), () => this.copyOver(), { shown: true });
    this.compare.title = t(TIPS.compare);
    this.compareWords.title = t(TIPS.words);
    this.maps.title = t(TIPS.maps);
    this.refine.title = t(TIPS.refine);
    this.positions.title = t(TIPS.positions);
    this.buttons = [this.compare, this.compareWords, this.maps, this.refine, this.positions, this.copy];
    editor.toolbar.arrangeMore.append(this.positions);
    editor.toolbar.more.append(this.tokenMap.control, this.copy, this.savedList.root);
    this.newFoot();
    const typed = () => editor.repaintHints();
    watchPage(editor.fields.tab, () => editor.refresh(), typed);
    editors.set(editor.fields.tab, editor);
  }

  /** The panel's last row, outside the editor's element. */
  newFoot() {
    const host = document.createElement("div");
    const shadow = host.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [styleSheet(STYLES + STRIP_STYLES)];
    const properties = { className: "foot tools", role: "group", "aria-label": t("Judge and reuse the layout") };
    shadow.append(make("div", properties, this.compare, this.compareWords, this.maps, this.refine));
    this.editor.fields.footArea?.replaceChildren(host);
  }

  draw() {
    this.hints.draw();
    this.tokenMap.draw();
    if (this.editor.previewed) return;
    this.hiresOverlay.draw();
    this.savedList.draw();
    this.copy.hidden = this.otherEditor === undefined;
    const empty = !this.activeSlots.length;
    for (const button of this.buttons) button.disabled = empty;
    if (!empty) this.check();
  }

  /** Lets the server check model files and checkpoint, once per checkpoint. */
  check() {
    const { fields, canvas } = this.editor;
    const message = `checkpoint ${checkpoint()}`;
    if (canvas.gesture || fields.entry("check").value.trimEnd() === message.trimEnd()) return;
    fields.send("check", message);
  }

  /** Model files may have arrived. */
  checkAgain() {
    const { fields } = this.editor;
    const { value } = fields.entry("check");
    fields.send("check", value.endsWith(" ") ? value.trimEnd() : `${value} `); // only a change reaches the server
  }

  /** One Generate with extra output. @param {keyof typeof GENERATING} extra */
  async request(extra) {
    const { fields } = this.editor;
    fields.send(EXTRA_OUTPUT, extra);
    this.editor.answer(t(GENERATING[extra]));
    await pause(GRADIO_DELAY);
    generate(fields.tab);
    await pause(GRADIO_DELAY);
    fields.send(EXTRA_OUTPUT, "");
  }

  /** Writes the place of each box after its subject's name in the main prompt. */
  writePositions() {
    const { fields, files } = this.editor;
    const [typed] = prompts(fields.tab);
    setPrompt(fields.tab, writePositions(typed, readLayout(files.exported(this.activeSlots))));
    this.editor.answer(t("Positions written into the prompt"));
  }

  /** The slots that are sent, back to front. */
  get activeSlots() {
    const { editor } = this;
    return editor.order.filter((slot) => takesPart(editor.layout, (other) => editor.fact(other), slot));
  }

  get otherEditor() {
    return editors.get(this.otherTab);
  }

  /** Replaces the other tab's subjects, boxes and pictures with this tab's. */
  async copyOver() {
    const { editor, otherEditor } = this;
    if (!otherEditor) return;
    const slots = this.activeSlots; // they fill the other tab's slots in this order
    const pictures = slots.map((slot) => editor.fields.pictures(slot));
    const layout = editor.files.exported(slots, true);
    for (const slot of allSlots(otherEditor.fields.slots)) {
      otherEditor.fields.setPictures(slot, pictures[slot - 1] ?? []);
    }
    await pause(GRADIO_DELAY);
    otherEditor.files.take(layout);
    editor.answer(t("Copied to {tab}", { tab: this.otherTab }));
  }
}
