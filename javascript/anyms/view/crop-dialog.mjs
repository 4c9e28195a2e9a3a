// A picture of a subject is cut: a part is chosen, what is not the subject is erased, what the encoder will see is shown. The slot
// has the result when the user says so, and not before; the whole picture is kept beside it for as long as the page is open.

import { fitted, moved, resized, sameBox, WHOLE } from "../model/boxes.mjs?v=0.1.0";
import { FITS, pixelsOf, placedBy, swapped, toPaint } from "../model/mask.mjs?v=0.1.0";
import { attribute, make, t, text } from "./dom.mjs?v=0.1.0";
import { chosenFiles } from "../host/files.mjs?v=0.1.0";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/boxes.mjs").Size} Size */
/** @typedef {import("./editor.mjs").Editor} Editor */
/** @typedef {{source: string, box: Box, paint: HTMLCanvasElement, painted: boolean}} Cut of a picture at `source`: where `paint` is white it is erased */
/** @typedef {Cut & {slot: number, address: string, image: HTMLImageElement, size: Size}} Work `address` is the slot's now */

const SIDE = 224; // pixels of CLIP's square
const EDGES = ["left", "top", "right", "bottom"];
const HANDLES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
const TOOLS = { crop: "Choose a part", erase: "Erase", restore: "Bring back" };
const HELP = "Drag the frame, or erase what is not the subject. The squares below show what the image encoder will see.";

/** @type {(size: Size) => HTMLCanvasElement} */
const canvasOf = ({ width, height }) => Object.assign(document.createElement("canvas"), { width, height });

/** @type {(canvas: HTMLCanvasElement) => CanvasRenderingContext2D} */
const penOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));

/** A button with words. @type {(words: string, onclick: () => void, further?: Record<string, string>) => HTMLButtonElement} */
const press = (words, onclick, further = {}) => /** @type {HTMLButtonElement} */ (make("button", { type: "button", onclick, ...further }, t(words)));

/** Throws where the browser cannot read it. @type {(address: string) => Promise<HTMLImageElement>} */
async function decoded(address) {
  const image = Object.assign(new Image(), { src: address });
  await image.decode();
  return image;
}

export class CutDialog {
  /** @param {Editor} editor */
  constructor(editor) {
    this.editor = editor;
    /** By the address of what was made. @type {Map<string, Cut>} */
    this.cuts = new Map();
    /** @type {Work | null} */
    this.work = null;
    /** @type {keyof typeof TOOLS} */
    this.tool = "crop";
    this.count = 0;
    this.waits = 0; // for the answer of that count
    this.title = make("h2", { id: "cut-title" });
    this.view = canvasOf({ width: 1, height: 1 });
    this.shade = make("div", { className: "shade" });
    this.part = make("div", { className: "part" }, ...HANDLES.map((edges) => make("span", { className: "handle", "data-edges": edges })));
    this.stage = make("div", { className: "work" }, this.view, this.shade, this.part);
    this.tools = Object.entries(TOOLS).map(([tool, words]) => press(words, () => this.take(/** @type {any} */ (tool)), { "data-tool": tool }));
    this.brush = /** @type {HTMLInputElement} */ (make("input", { type: "range", min: "1", max: "40", value: "12", "aria-label": t("Size of the brush") }));
    this.numbers = EDGES.map((name, n) => this.newNumber(name, n));
    this.remover = press("Remove the background", () => this.askForBackground());
    this.squares = FITS.map((fit) => make("button", { type: "button", onclick: () => this.fit(fit) }, canvasOf({ width: SIDE, height: SIDE }), make("span", {}, t(fit))));
    this.problem = make("div", { className: "problem", role: "alert" });
    this.root = /** @type {HTMLDialogElement} */ (make("dialog", { className: "cutting", "aria-labelledby": "cut-title" }));
    this.build();
  }

  build() {
    const mask = press("Mask from a file…", () => void this.openMask(), { title: t("A picture that is white, or opaque, where the subject is") });
    const files = make("div", {}, mask, this.remover, press("Start over", () => this.startOver()));
    const painting = make("div", { className: "bar" }, make("div", {}, ...this.tools), make("label", {}, t("brush"), this.brush), files);
    const numbers = make("div", { className: "bar" }, ...this.numbers.map((input, n) => make("label", {}, `${t(EDGES[n])} %`, input)));
    const squares = make("div", { className: "squares", role: "group", "aria-label": t("How pictures come into the encoder's square, all of them") }, ...this.squares);
    const end = make("div", { className: "bar end" }, press("Cancel", () => this.close()), press("Use it", () => this.use(), { className: "use" }));
    const help = make("div", { className: "seenas" }, t(HELP));
    this.root.append(this.title, make("div", { className: "sheet" }, this.stage), painting, numbers, this.problem, help, squares, end);
    this.root.addEventListener("close", () => this.forget());
    this.stage.addEventListener("pointerdown", (event) => this.grab(event));
    const ours = ["keydown", "paste", "drop", "dragover"]; // neither the editor's nor the host's
    for (const kind of ours) this.root.addEventListener(kind, (event) => event.stopPropagation());
  }

  /** @type {(name: string, n: number) => HTMLInputElement} */
  newNumber(name, n) {
    const input = /** @type {HTMLInputElement} */ (make("input", { type: "number", min: "0", max: "100", step: "0.1", "aria-label": `${t(name)}, %` }));
    input.addEventListener("change", () => {
      if (this.work && Number.isFinite(input.valueAsNumber)) this.work.box = fitted(Object.assign([...this.work.box], { [n]: input.valueAsNumber / 100 }));
      this.draw();
    });
    return input;
  }

  // -- open and close -----------------------------------------------------------------------------------------------------

  /** @type {(slot: number, n: number) => Promise<void>} */
  async open(slot, n) {
    const { editor } = this;
    const address = editor.fields.pictures(slot)[n] ?? "";
    const before = this.cuts.get(address);
    const image = await decoded(before?.source ?? address).catch(() => null);
    if (!image) return editor.complain(t("The browser cannot read this picture. Save it as PNG or JPEG and add it again."));
    const size = { width: image.naturalWidth, height: image.naturalHeight };
    const paint = canvasOf(size);
    if (before) penOf(paint).drawImage(before.paint, 0, 0);
    this.work = { slot, address, image, size, paint, painted: before?.painted ?? false, source: before?.source ?? address, box: before?.box ?? WHOLE };
    text(this.title, `${t("Cut picture")} ${n + 1} ${t("of subject")} ${slot}`);
    text(this.problem, "");
    this.take("crop");
    if (!this.root.open) this.root.showModal();
  }

  close() {
    this.root.close();
  }

  /** Whatever closed it, Escape too. */
  forget() {
    this.work = null;
    this.waits = 0;
  }

  use() {
    const { work, editor } = this;
    if (!work) return;
    const { slot, address, source, box, paint, painted } = work;
    const whole = sameBox(box, WHOLE) && !painted;
    const made = whole ? source : this.made().toDataURL("image/png");
    this.close();
    editor.giving.set(slot, swapped(editor.fields.pictures(slot), address, made), `${t("Cut a picture of subject")} ${slot}`);
    const held = new Set(Array.from({ length: editor.fields.slots }, (_, n) => editor.fields.pictures(n + 1)).flat());
    for (const each of this.cuts.keys()) if (!held.has(each)) this.cuts.delete(each); // each holds whole pictures
    if (!whole) this.cuts.set(made, { source, box, paint, painted });
  }

  // -- what is shown ------------------------------------------------------------------------------------------------------

  /** What there is of the picture, on white. @type {(box?: Box) => HTMLCanvasElement} */
  made(box = this.work?.box ?? WHOLE) {
    const { image, paint, size } = /** @type {Work} */ (this.work);
    const { left, top, width, height } = pixelsOf(box, size);
    const canvas = canvasOf({ width, height });
    const pen = penOf(canvas);
    pen.fillStyle = "#fff";
    pen.fillRect(0, 0, width, height);
    for (const layer of [image, paint]) pen.drawImage(layer, left, top, width, height, 0, 0, width, height);
    return canvas;
  }

  draw() {
    if (!this.work) return;
    const { box, size } = this.work;
    const whole = this.made(WHOLE);
    Object.assign(this.view, size);
    this.stage.style.setProperty("--aspect", String(size.width / size.height));
    penOf(this.view).drawImage(whole, 0, 0);
    const [x0, y0, x1, y1] = box.map((edge) => `${edge * 100}%`);
    const hole = [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]].map((point) => point.join(" ")).join(", ");
    this.shade.style.clipPath = `polygon(evenodd, 0 0, 100% 0, 100% 100%, 0 100%, 0 0, ${hole})`;
    Object.assign(this.part.style, { left: x0, top: y0, width: `${(box[2] - box[0]) * 100}%`, height: `${(box[3] - box[1]) * 100}%` });
    this.numbers.forEach((input, n) => Object.assign(input, { value: String(Math.round(box[n] * 1000) / 10) }));
    for (const each of this.tools) attribute(each, "aria-pressed", String(each.getAttribute("data-tool") === this.tool));
    this.stage.classList.toggle("painting", this.tool !== "crop");
    this.remover.disabled = this.waits > 0;
    text(this.remover, t(this.waits ? "Removing the background…" : "Remove the background"));
    this.drawSquares(this.made());
  }

  /** @param {HTMLCanvasElement} made */
  drawSquares(made) {
    const chosen = this.editor.fields.entry("fit").value;
    this.squares.forEach((square, n) => {
      attribute(square, "aria-pressed", String(FITS[n] === chosen));
      const pen = penOf(/** @type {HTMLCanvasElement} */ (square.firstChild));
      pen.fillStyle = "#fff";
      pen.fillRect(0, 0, SIDE, SIDE);
      pen.imageSmoothingQuality = "high";
      pen.drawImage(made, ...placedBy(made, FITS[n], SIDE));
    });
  }

  // -- by hand ------------------------------------------------------------------------------------------------------------

  /** @param {keyof typeof TOOLS} tool */
  take(tool) {
    this.tool = tool;
    this.draw();
  }

  startOver() {
    const { work } = this;
    if (!work) return;
    Object.assign(work, { box: WHOLE, paint: canvasOf(work.size), painted: false });
    text(this.problem, "");
    this.draw();
  }

  /** @param {PointerEvent} event */
  grab(event) {
    const { work, stage } = this;
    if (!work || event.button !== 0) return;
    event.preventDefault();
    const area = this.view.getBoundingClientRect();
    const target = /** @type {HTMLElement} */ (event.target);
    if (this.tool === "crop" && !this.part.contains(target)) return;
    const does = this.tool === "crop" ? this.dragging(event, area, target.dataset.edges ?? "") : this.painting(event, area);
    const over = new AbortController();
    stage.setPointerCapture(event.pointerId);
    does(event);
    stage.addEventListener("pointermove", (next) => next.pointerId === event.pointerId && does(next), { signal: over.signal });
    for (const kind of ["pointerup", "pointercancel", "lostpointercapture"]) stage.addEventListener(kind, () => over.abort(), { signal: over.signal });
  }

  /** @type {(from: PointerEvent, area: DOMRect, edges: string) => (event: PointerEvent) => void} */
  dragging(from, area, edges) {
    const work = /** @type {Work} */ (this.work);
    const { box, size } = work;
    return (event) => {
      const by = /** @type {const} */ ([(event.clientX - from.clientX) / area.width, (event.clientY - from.clientY) / area.height]);
      work.box = edges ? resized(box, edges, by, size, 0) : moved(box, by, size, 0);
      this.draw();
    };
  }

  /** @type {(from: PointerEvent, area: DOMRect) => (event: PointerEvent) => void} */
  painting(from, area) {
    const work = /** @type {Work} */ (this.work);
    const pen = penOf(work.paint);
    const [wide, high] = [work.size.width / area.width, work.size.height / area.height];
    const at = (/** @type {PointerEvent} */ event) => /** @type {const} */ ([(event.clientX - area.left) * wide, (event.clientY - area.top) * high]);
    let last = at(from);
    work.painted = true;
    return (event) => {
      const next = at(event);
      pen.globalCompositeOperation = this.tool === "erase" ? "source-over" : "destination-out";
      const lineWidth = (this.brush.valueAsNumber / 100) * Math.max(work.size.width, work.size.height);
      Object.assign(pen, { strokeStyle: "#fff", lineCap: "round", lineWidth });
      pen.beginPath();
      pen.moveTo(...last);
      pen.lineTo(...next);
      pen.stroke();
      last = next;
      this.draw();
    };
  }

  // -- masks --------------------------------------------------------------------------------------------------------------

  async openMask() {
    const [file] = await chosenFiles("image/*", false);
    if (!file) return;
    const address = URL.createObjectURL(file);
    await this.takeMask(address);
    URL.revokeObjectURL(address);
  }

  /** Of the whole picture; one of another size is resized. @param {string} address */
  async takeMask(address) {
    const mask = await decoded(address).catch(() => null);
    if (!this.work) return; // closed meanwhile
    if (!mask) return text(this.problem, t("The browser cannot read this mask. Save it as PNG and choose it again."));
    const { width, height } = this.work.size;
    const paint = canvasOf(this.work.size);
    const pen = penOf(paint);
    pen.drawImage(mask, 0, 0, width, height);
    const pixels = pen.getImageData(0, 0, width, height);
    toPaint(pixels.data);
    pen.putImageData(pixels, 0, 0);
    Object.assign(this.work, { paint, painted: true });
    text(this.problem, "");
    this.draw();
  }

  // -- what only the server can do ----------------------------------------------------------------------------------------

  askForBackground() {
    if (!this.work) return;
    text(this.problem, "");
    this.waits = this.ask({ picture: this.work.source });
    this.draw();
  }

  /** gradio's lists take no value from a script. @param {string} fit */
  fit(fit) {
    this.ask({ fit });
  }

  /** @param {Record<string, string>} what */
  ask(what) {
    this.count += 1; // the same once more is news, too
    this.editor.fields.send("cut_put", JSON.stringify({ ...what, count: this.count }));
    return this.count;
  }

  /** The page has changed: perhaps that is an answer, or the fit. */
  hear() {
    if (!this.work) return;
    const told = this.editor.fields.entry("cut_told").value;
    const answer = this.waits && told ? JSON.parse(told) : {};
    if (answer.count === this.waits && this.waits) {
      this.waits = 0;
      text(this.problem, answer.problem ?? "");
      if (answer.mask) void this.takeMask(answer.mask);
    }
    this.draw();
  }
}
