// Picture files as they come to the page, and the addresses in which they travel on.

import { shrunk } from "../model/pictures.mjs?v=0.1.0";

const SENT_AS_THEY_ARE = ["image/png", "image/jpeg", "image/webp"];
const LARGEST_FILE = 4 * 2 ** 20; // bytes
const QUALITY = 0.95;

/**
 * The pictures of a drop or a paste; one dragged from this page is fetched from here.
 * @param {DataTransfer | null} transfer
 * @returns {Promise<File[]>}
 */
export async function picturesIn(transfer) {
  const files = [...(transfer?.files ?? [])].filter((file) => file.type.startsWith("image/"));
  const address = transfer?.getData("text/uri-list").split("\n").find((line) => line && !line.startsWith("#")) ?? "";
  if (files.length || !address || new URL(address, location.href).origin !== location.origin) return files;
  const answer = await fetch(address).catch(() => null);
  const blob = answer?.ok ? await answer.blob() : null;
  return blob?.type.startsWith("image/") ? [new File([blob], "picture", { type: blob.type })] : [];
}

/** Whether a drag brings something we take. @type {(transfer: DataTransfer | null) => boolean} */
export const bringsPictures = (transfer) => Boolean(transfer && ["Files", "text/uri-list"].some((kind) => transfer.types.includes(kind)));

/**
 * A picture as a data: address of at most 1024 pixels a side; a small one as it is. Throws where the browser cannot read it.
 * @param {File} file
 * @returns {Promise<string>}
 */
export async function addressOf(file) {
  const bitmap = await createImageBitmap(file);
  const size = shrunk(bitmap);
  if (size.width === bitmap.width && size.height === bitmap.height && file.size <= LARGEST_FILE && SENT_AS_THEY_ARE.includes(file.type)) return inline(file);
  const canvas = Object.assign(document.createElement("canvas"), size);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, size.width, size.height);
  bitmap.close();
  const blob = await new Promise((/** @type {(blob: Blob | null) => void} */ done) => canvas.toBlob(done, "image/webp", QUALITY)); // PNG where it writes none
  if (!blob) throw new Error("the browser gave no picture");
  return inline(blob);
}

/** @type {(blob: Blob) => Promise<string>} */
function inline(blob) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => done(String(reader.result)));
    reader.addEventListener("error", () => failed(reader.error));
    reader.readAsDataURL(blob);
  });
}

/** Lets the user choose files. @type {(accept: string, multiple: boolean) => Promise<File[]>} */
export function chosenFiles(accept, multiple) {
  return new Promise((done) => {
    const chooser = Object.assign(document.createElement("input"), { type: "file", accept, multiple });
    chooser.addEventListener("change", () => done([...(chooser.files ?? [])]));
    chooser.click();
  });
}
