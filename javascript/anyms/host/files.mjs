// Picture files that reach the page by drop, paste or file dialog, and their data: URLs.

import { shrunk } from "../model/pictures.mjs?v=89aa7310";

const SENT_UNCHANGED = ["image/png", "image/jpeg", "image/webp"];
const LARGEST_FILE = 4 * 2 ** 20; // bytes
const QUALITY = 0.95;

/**
 * The picture files of a drop or a paste. A picture dragged from this page is downloaded from its own server.
 * @param {DataTransfer | null} transfer
 * @returns {Promise<File[]>}
 */
export async function picturesIn(transfer) {
  const files = [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  const lines = transfer?.getData("text/uri-list").split("\n") ?? [];
  const address = lines.find((line) => line && !line.startsWith("#")) ?? "";
  if (files.length || !address || new URL(address, location.href).origin !== location.origin) return files;
  const response = await fetch(address).catch(() => null);
  const blob = response?.ok ? await response.blob() : null;
  return blob?.type.startsWith("image/") ? [new File([blob], "picture", { type: blob.type })] : [];
}

/** Whether a drag carries files or an address. @type {(transfer: DataTransfer | null) => boolean} */
export function hasPictures(transfer) {
  return Boolean(transfer && ["Files", "text/uri-list"].some((kind) => transfer.types.includes(kind)));
}

/**
 * A picture as a data: URL of at most 1024 pixels per side. A small file is not re-encoded. Throws if the browser
 * cannot read it.
 * @param {File} file
 * @returns {Promise<string>}
 */
export async function addressOf(file) {
  const bitmap = await createImageBitmap(file);
  const size = shrunk(bitmap);
  const fits = size.width === bitmap.width && size.height === bitmap.height;
  if (fits && file.size <= LARGEST_FILE && SENT_UNCHANGED.includes(file.type)) return dataUrl(file);
  return dataUrl(await encoded(bitmap, size));
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
