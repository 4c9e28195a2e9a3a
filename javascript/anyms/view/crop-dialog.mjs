// The crop dialog: choose a part of a picture, erase what is not the subject, and see what the image encoder will see.
// The slot changes only on "Apply". The whole picture stays in memory while the page is open, so that a crop can be
// changed.

import { fitted, moved, resized, sameBox, WHOLE } from "../model/boxes.mjs?v=31cf827f";
import { FITS, placedBy, replaced } from "../model/mask.mjs?v=31cf827f";
import { allSlots } from "../model/order.mjs?v=31cf827f";
import { canvasOf, contextOf, decoded, erasedBy, paintOf, rendered } from "./crop-image.mjs?v=31cf827f";
import { Strokes } from "./strokes.mjs?v=31cf827f";
import { attribute, make, outside, placed, t, text, textButton } from "./dom.mjs?v=31cf827f";
import { CROP_RESPONSE } from "../host/fields.mjs?v=31cf827f";
import { chooseFiles, falsifiesCanvas } from "../host/files.mjs?v=31cf827f";

/** @typedef {import("./crop-image.mjs").Crop} Crop */
/** @typedef {import("./crop-image.mjs").Work} Work */
/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {keyof typeof TOOLS} Tool */

const SIDE = 224; // pixels of CLIP's square
const EDGES = ["left, %", "top, %", "right, %", "bottom, %"];
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const MASKS = {
  all: "This mask erases the whole picture. Restore the subject, or choose another mask.",
  nothing: "This mask erases nothing. Erase what is not the subject, or choose another mask.",
  part: "",
};
const TOOLS = { crop: "Crop", erase: "Erase", restore: "Restore" };
const HELP =
  "Drag the frame, or erase what is not the subject. The squares below show what the image encoder will see.";
const FALSIFIED =
  "This browser falsifies pictures to hide traits of your computer. Allow this page to use canvas data, or crop the " +
  "picture with another program.";

export class CropDialog {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** Crops in use, by the address of their result. @type {Map<string, Crop>} */
    this.crops = new Map();
    /** @type {Work | null} */
    this.work = null;
    /** @type {Tool} */
    this.tool = "crop";
    this.requests = 0;
    this.openedBox = WHOLE; // of the crop when the dialog was opened
    this.pending = 0; // number of the request for a background mask; 0: none
    this.title = make("h2", { id: "crop-title" });
    this.view = canvasOf({ width: 1, height: 1 });
    this.shade = make("div", { className: "shade" });
    const handles = HANDLES.map((edges) => make("span", { className: "handle", "data-edges": edges }));
    this.frame = make("div", { className: "crop-frame" }, ...handles);
    this.area = make("div", { className: "crop-area" }, this.view, this.shade, this.frame);
    this.tools = /** @type {Tool[]} */ (Object.keys(TOOLS)).map((tool) => this.newTool(tool));
    this.brush = this.newBrush();
    this.circle = make("div", { className: "brush-circle", hidden: true });
    this.strokes = new Strokes(() => this.draw());
    this.inputs = EDGES.map((label, n) => this.newInput(label, n));
    this.remover = textButton(t("Remove the background"), () => this.requestMask());
    this.squares = FITS.map((fit) => this.newSquare(fit));
    this.problem = make("div", { className: "problem", role: "alert" });
    const properties = { className: "crop-dialog", "aria-labelledby": "crop-title" };
    this.root = /** @type {HTMLDialogElement} */ (make("dialog", properties));
    this.build();
  }

  // -- build ----------------------------------------------------------------------------------------------------------

  build() {
    const tip = t("A picture that is white, or opaque, where the subject is");
    const mask = textButton(t("Mask from a file…"), () => void this.openMask(), { title: tip });
    const files = make(
      "div",
      {},
      mask,
      this.remover,
      textButton(t("Start over"), () => this.startOver()),
    );
    this.area.append(this.circle);
    const brush = make("label", {}, t("brush"), this.brush);
    const painting = make("div", { className: "bar" }, make("div", {}, ...this.tools), brush, this.strokes.root, files);
    const labels = this.inputs.map((input, n) => make("label", {}, t(EDGES[n]), input));
    const numbers = make("div", { className: "bar" }, ...labels);
    const cancel = textButton(t("Cancel"), () => this.leave());
    const use = textButton(t("Apply"), () => this.use(), { className: "use" });
    this.question = make(
      "span",
      { className: "leaving", hidden: true, role: "alert" },
      t("Discard the changes?"),
      textButton(t("Discard"), () => this.close()),
      textButton(t("Continue"), () => this.ask(false)),
    );
    const end = make("div", { className: "bar end" }, this.question, cancel, use);
    const help = make("div", { className: "crop-help" }, t(HELP));
    const sheet = make("div", { className: "sheet" }, this.area);
    this.root.append(this.title, sheet, painting, numbers, this.problem, help, this.squareGroup(), end);
    this.root.addEventListener("close", () => this.forget());
    this.root.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.leave();
    });
    this.root.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("pointermove", (event) => this.drawCircle(event));
    this.area.addEventListener("pointerleave", () => (this.circle.hidden = true));
    this.area.addEventListener("pointerdown", (event) => this.grab(event));
    for (const kind of ["keydown", "paste", "drop", "dragover"]) {
      this.root.addEventListener(kind, (event) => event.stopPropagation()); // neither editor nor host may react
    }
  }

  squareGroup() {
    const label = t("How all pictures fit into the encoder's square");
    return make("div", { className: "squares", role: "group", "aria-label": label }, ...this.squares);
  }

  /** @param {Tool} tool */
  newTool(tool) {
    return textButton(t(TOOLS[tool]), () => this.setTool(tool), { "data-tool": tool });
  }

  newBrush() {
    const label = t("Size of the brush");
    const properties = { type: "range", min: "1", max: "40", value: "12", "aria-label": label };
    return /** @type {HTMLInputElement} */ (make("input", properties));
  }

  /** @param {string} fit */
  newSquare(fit) {
    const canvas = canvasOf({ width: SIDE, height: SIDE });
    const onclick = () => this.chooseFit(fit);
    return make("button", { type: "button", onclick }, canvas, make("span", {}, t(fit)));
  }

  /** @type {(label: string, n: number) => HTMLInputElement} */
  newInput(label, n) {
    const properties = { type: "number", min: "0", max: "100", step: "0.1", "aria-label": t(label) };
    const input = /** @type {HTMLInputElement} */ (make("input", properties));
    input.addEventListener("change", () => {
      const { work } = this;
      if (work && Number.isFinite(input.valueAsNumber)) {
        const edges = [...work.box];
        edges[n] = input.valueAsNumber / 100;
        work.box = fitted(edges);
      }
      this.draw();
    });
    return input;
  }

  // -- open and close -------------------------------------------------------------------------------------------------

  /** Opens picture `n` of a slot. @type {(slot: number, n: number) => Promise<void>} */
  async open(slot, n) {
    const { editor } = this;
    const address = editor.fields.pictures(slot)[n] ?? "";
    const crop = this.crops.get(address) ?? { source: address, box: WHOLE, paint: null, painted: false };
    const image = await decoded(crop.source).catch(() => null);
    if (!image) {
      return editor.complain(t("The browser cannot read this picture. Save it as PNG or JPEG and add it again."));
    }
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    const paint = canvasOf(size);
    if (crop.paint) contextOf(paint).drawImage(crop.paint, 0, 0);
    this.work = { ...crop, paint, slot, address, image, size };
    this.openedBox = this.work.box;
    this.strokes.begin(this.work);
    this.ask(false);
    text(this.title, t("Crop picture {number} of subject {slot}", { slot, number: n + 1 }));
    text(this.problem, "");
    this.setTool("crop");
    if (!this.root.open) this.root.showModal();
  }

  close() {
    this.root.close();
  }

  /** By "Cancel" or Escape: changes are not lost without a question. */
  leave() {
    const { work, openedBox } = this;
    const dirty = work && (!sameBox(work.box, openedBox) || this.strokes.changed);
    if (dirty && this.question?.hidden) this.ask(true);
    else this.close();
  }

  /** @param {boolean} asks */
  ask(asks) {
    if (!this.question) return;
    this.question.hidden = !asks;
    const next = asks ? this.question.querySelector("button") : this.root.querySelector(".use");
    /** @type {HTMLElement | null} */ (next)?.focus(); // without a focus, keys would reach the host
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = { "[": -2, "]": 2 }[event.key];
    if (step) this.brush.value = String(this.brush.valueAsNumber + step);
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    this.strokes.step(event.shiftKey ? 1 : -1);
  }

  /** Shows the brush's size at the pointer. @param {PointerEvent} event */
  drawCircle(event) {
    const area = this.view.getBoundingClientRect();
    const width = (this.brush.valueAsNumber / 100) * Math.max(area.width, area.height);
    this.circle.hidden = this.tool === "crop";
    const [left, top] = [event.clientX - area.left - width / 2, event.clientY - area.top - width / 2];
    Object.assign(this.circle.style, { left: `${left}px`, top: `${top}px`, width: `${width}px`, height: `${width}px` });
  }

  /** The dialog has closed, by a button or by Escape. */
  forget() {
    this.work = null;
    this.pending = 0;
  }

  use() {
    const { work, editor } = this;
    if (!work) return;
    const { slot, address, source, box, paint, painted } = work;
    const unchanged = sameBox(box, WHOLE) && !painted;
    if (!unchanged && falsifiesCanvas()) return text(this.problem, t(FALSIFIED));
    const result = unchanged ? source : rendered(work, box).toDataURL("image/png");
    this.close();
    const pictures = replaced(editor.fields.pictures(slot), address, result);
    editor.intake.set(slot, pictures, t("Cropped a picture of subject {slot}", { slot }));
    this.forgetUnused();
    if (!unchanged) this.crops.set(result, { source, box, paint, painted });
  }

  /** A crop holds whole pictures, so old ones must not stay in memory. */
  forgetUnused() {
    const { fields } = this.editor;
    const used = new Set(allSlots(fields.slots).flatMap((slot) => fields.pictures(slot)));
    for (const address of this.crops.keys()) {
      if (!used.has(address)) this.crops.delete(address);
    }
  }

  // -- draw -----------------------------------------------------------------------------------------------------------

  draw() {
    const { work } = this;
    if (!work) return;
    this.drawPicture(work);
    this.inputs.forEach((input, n) => (input.value = String(Math.round(work.box[n] * 1000) / 10)));
    for (const button of this.tools) {
      attribute(button, "aria-pressed", String(button.getAttribute("data-tool") === this.tool));
    }
    this.area.classList.toggle("painting", this.tool !== "crop");
    const waiting = this.pending > 0;
    this.remover.disabled = waiting;
    text(this.remover, t(waiting ? "Removing the background…" : "Remove the background"));
    this.drawSquares(rendered(work, work.box));
  }

  /** @param {Work} work */
  drawPicture(work) {
    const { box, size } = work;
    Object.assign(this.view, size); // this clears the canvas
    contextOf(this.view).drawImage(rendered(work, WHOLE), 0, 0);
    this.area.style.setProperty("--aspect", String(size.width / size.height));
    this.shade.style.clipPath = outside(box);
    Object.assign(this.frame.style, placed(box));
  }

  /** @param {HTMLCanvasElement} result */
  drawSquares(result) {
    const chosen = this.editor.fields.entry("fit").value;
    this.squares.forEach((square, n) => {
      attribute(square, "aria-pressed", String(FITS[n] === chosen));
      const context = contextOf(/** @type {HTMLCanvasElement} */ (square.firstChild));
      context.fillStyle = "#fff";
      context.fillRect(0, 0, SIDE, SIDE);
      context.imageSmoothingQuality = "high";
      context.drawImage(result, ...placedBy(result, FITS[n], SIDE));
    });
  }

  // -- pointer --------------------------------------------------------------------------------------------------------

  /** @param {Tool} tool */
  setTool(tool) {
    this.tool = tool;
    this.draw();
  }

  startOver() {
    const { work } = this;
    if (!work) return;
    Object.assign(work, { box: WHOLE, paint: canvasOf(work.size), painted: false });
    this.strokes.keep();
    text(this.problem, "");
    this.draw();
  }

  /** @param {PointerEvent} start */
  grab(start) {
    const { work, area } = this;
    if (!work || start.button !== 0) return;
    start.preventDefault();
    const target = /** @type {HTMLElement} */ (start.target);
    if (this.tool === "crop" && !this.frame.contains(target)) return;
    const follow =
      this.tool === "crop" ? this.dragging(work, start, target.dataset.edges ?? "") : this.painting(work, start);
    const listeners = new AbortController();
    const { signal } = listeners;
    area.setPointerCapture(start.pointerId);
    follow(start);
    const sameFinger = (/** @type {PointerEvent} */ event) => {
      if (event.pointerId === start.pointerId) follow(event);
    };
    area.addEventListener("pointermove", sameFinger, { signal });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) {
      const end = () => {
        listeners.abort();
        if (this.tool !== "crop") this.strokes.keep();
      };
      area.addEventListener(kind, end, { signal });
    }
  }

  /**
   * Moves the frame, or the edges under the pointer.
   * @type {(work: Work, start: PointerEvent, edges: string) => (event: PointerEvent) => void}
   */
  dragging(work, start, edges) {
    const { box, size } = work;
    const { width, height } = this.view.getBoundingClientRect();
    return (event) => {
      /** @type {[number, number]} */
      const by = [(event.clientX - start.clientX) / width, (event.clientY - start.clientY) / height];
      work.box = edges ? resized(box, edges, by, size, 0) : moved(box, by, size, 0);
      this.draw();
    };
  }

  /**
   * Erases or restores along the pointer's path.
   * @type {(work: Work, start: PointerEvent) => (event: PointerEvent) => void}
   */
  painting(work, start) {
    const context = contextOf(work.paint);
    const { width, height } = work.size;
    const area = this.view.getBoundingClientRect();
    /** @type {(event: PointerEvent) => [number, number]} */
    const pixelAt = ({ clientX, clientY }) => {
      return [((clientX - area.left) * width) / area.width, ((clientY - area.top) * height) / area.height];
    };
    let last = pixelAt(start);
    work.painted = true;
    return (event) => {
      const next = pixelAt(event);
      context.globalCompositeOperation = this.tool === "erase" ? "source-over" : "destination-out";
      const lineWidth = (this.brush.valueAsNumber / 100) * Math.max(width, height);
      Object.assign(context, { strokeStyle: "#fff", lineCap: "round", lineWidth });
      context.beginPath();
      context.moveTo(...last);
      context.lineTo(...next);
      context.stroke();
      last = next;
      this.draw();
    };
  }

  // -- masks ----------------------------------------------------------------------------------------------------------

  async openMask() {
    const [file] = await chooseFiles("image/*", false);
    if (!file) return;
    const address = URL.createObjectURL(file);
    await this.takeMask(address);
    URL.revokeObjectURL(address);
  }

  /** Replaces the paint by a mask of the whole picture. @param {string} address */
  async takeMask(address) {
    const mask = await decoded(address).catch(() => null);
    if (!this.work) return; // the dialog was closed while the mask loaded
    if (!mask) return text(this.problem, t("The browser cannot read this mask. Save it as PNG and choose it again."));
    Object.assign(this.work, { paint: paintOf(mask, this.work.size), painted: true });
    this.strokes.keep();
    text(this.problem, t(MASKS[erasedBy(this.work.paint)]));
    this.draw();
  }

  // -- requests to the server -----------------------------------------------------------------------------------------

  requestMask() {
    if (!this.work) return;
    text(this.problem, "");
    this.pending = this.request({ picture: this.work.source });
    this.draw();
  }

  /** The server sets it: gradio's lists take no value from a script. @param {string} fit */
  chooseFit(fit) {
    this.request({ fit });
  }

  /** @param {Record<string, string>} message */
  request(message) {
    this.requests += 1; // makes each message new: the same request again must change the field
    this.editor.fields.send("cut_put", JSON.stringify({ ...message, count: this.requests }));
    return this.requests;
  }

  /** The page has changed: takes a response of the server, and shows the current fit. */
  refresh() {
    if (!this.work) return;
    const message = this.editor.fields.entry(CROP_RESPONSE).value;
    const response = this.pending && message ? JSON.parse(message) : {};
    if (this.pending && response.count === this.pending) {
      this.pending = 0;
      text(this.problem, response.problem ?? "");
      if (response.mask) void this.takeMask(response.mask);
    }
    this.draw();
  }
}
