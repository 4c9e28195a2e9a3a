// Picture files that reach the page by drop, paste or file dialog, and their data: URLs.

import { asOpacity, isFalsified, JSON_TYPE, kindOf, KNOWN_ROW } from "../model/file-kind.mjs?v=31cf827f";
import { shrunk } from "../model/pictures.mjs?v=31cf827f";

const SENT_UNCHANGED = ["image/png", "image/jpeg", "image/webp"];
const LARGEST_FILE = 4 * 2 ** 20; // bytes
const QUALITY = 0.95;

/** @typedef {{pictures: File[], layout: File | null}} Sorted files by what they are; `layout`: the first JSON file */

/**
 * The files of a drop or a paste. A picture dragged from this page is downloaded from its own server.
 * @param {DataTransfer | null} transfer
 * @returns {Promise<Sorted>}
 */
export async function filesIn(transfer) {
  const files = [...(transfer?.files ?? [])]; // the browser empties the transfer when the event ends
  const lines = transfer?.getData("text/uri-list").split("\n") ?? [];
  const address = lines.find((line) => line && !line.startsWith("#")) ?? "";
  if (files.length || !address || new URL(address, location.href).origin !== location.origin) return sorted(files);
  const response = await fetch(address).catch(() => null);
  return sorted(response?.ok ? [new File([await response.blob()], "picture")] : []);
}

/**
 * Files by what their bytes are. A file of unknown bytes that calls itself a picture is one that the browser may not
 * read; `addressOf` says so.
 * @type {(files: readonly File[]) => Promise<Sorted>}
 */
export async function sorted(files) {
  const pictures = [];
  let layout = null;
  for (const file of files) {
    const kind = kindOf(await bytesOf(file)) || file.type;
    if (kind === JSON_TYPE) layout ??= file;
    else if (kind.startsWith("image/")) pictures.push(file);
  }
  return { pictures, layout };
}

/** The first bytes, enough for `kindOf`. @type {(file: Blob) => Promise<Uint8Array>} */
const bytesOf = async (file) => new Uint8Array(await file.slice(0, 64).arrayBuffer());

/** Whether a drag carries files or an address. @type {(transfer: DataTransfer | null) => boolean} */
export function hasPictures(transfer) {
  return Boolean(transfer && ["Files", "text/uri-list"].some((kind) => transfer.types.includes(kind)));
}

/**
 * A picture as a data: URL of at most 1024 pixels per side. A small file is not re-encoded, nor is any file where the
 * browser falsifies what a canvas returns. Throws if the browser cannot read it.
 * @param {File} file
 * @returns {Promise<string>}
 */
export async function addressOf(file) {
  const type = kindOf(await bytesOf(file));
  const bitmap = await createImageBitmap(file);
  const size = shrunk(bitmap);
  const fits = size.width === bitmap.width && size.height === bitmap.height && file.size <= LARGEST_FILE;
  const unchanged = SENT_UNCHANGED.includes(type);
  if (unchanged && (fits || falsifiesCanvas())) return dataUrl(file.slice(0, file.size, type));
  if (falsifiesCanvas()) throw new Error("the browser falsifies pictures");
  return dataUrl(await encoded(bitmap, size));
}

const LARGEST_MASK = 512; // pixels per side: feature maps have fewer tokens

/**
 * A mask as a data: URL of a PNG that is opaque where the file is white, or opaque if it has a transparent pixel.
 * Throws if the browser cannot read it, or falsifies canvases.
 * @type {(file: File) => Promise<string>}
 */
export async function maskOf(file) {
  if (falsifiesCanvas()) throw new Error("the browser falsifies pictures");
  const bitmap = await createImageBitmap(file);
  const factor = Math.min(1, LARGEST_MASK / Math.max(bitmap.width, bitmap.height));
  const width = Math.max(1, Math.round(bitmap.width * factor));
  const height = Math.max(1, Math.round(bitmap.height * factor));
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  const image = context.getImageData(0, 0, width, height);
  asOpacity(image.data);
  context.putImageData(image, 0, 0);
  return canvas.toDataURL("image/png");
}

/** Whether this browser returns other pixels than a canvas has, to hide traits of the computer. */
export function falsifiesCanvas() {
  const canvas = Object.assign(document.createElement("canvas"), { width: KNOWN_ROW.length, height: 1 });
  const context = canvas.getContext("2d");
  if (!context) return true;
  KNOWN_ROW.forEach((colour, n) => {
    context.fillStyle = colour;
    context.fillRect(n, 0, 1, 1);
  });
  return isFalsified(context.getImageData(0, 0, KNOWN_ROW.length, 1).data);
}

/** @type {(bitmap: ImageBitmap, size: import("../model/boxes.mjs").Size) => Promise<Blob>} */
async function encoded(bitmap, size) {
  const canvas = Object.assign(document.createElement("canvas"), size);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, size.width, size.height);
  bitmap.close();
  /** @type {Blob | null} A browser that cannot write WebP writes PNG. */
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", QUALITY));
  if (!blob) throw new Error("the browser could not encode the picture");
  return blob;
}

/** @type {(blob: Blob) => Promise<string>} */
function dataUrl(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(String(reader.result)));
    reader.addEventListener("error", () => reject(reader.error));
    reader.readAsDataURL(blob);
  });
}

/** Opens the browser's file dialog. @type {(accept: string, multiple: boolean) => Promise<File[]>} */
export function chooseFiles(accept, multiple) {
  return new Promise((resolve) => {
    const chooser = Object.assign(document.createElement("input"), { type: "file", accept, multiple });
    chooser.addEventListener("change", () => resolve([...(chooser.files ?? [])]));
    chooser.click();
  });
}

/** @type {(text: string, name: string) => void} */
export function downloadJson(text, name) {
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser may still be reading it
}
