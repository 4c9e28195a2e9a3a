// Pixels of the crop dialog: decode a picture, render its crop, and turn a mask into paint.

import { erased, pixelsOf, toPaint } from "../model/mask.mjs?v=31cf827f";

/** @typedef {import("../model/boxes.mjs").Box} Box */
/** @typedef {import("../model/boxes.mjs").Size} Size */
/**
 * A crop of the picture at `source`. White pixels of `paint` are erased; `painted`: there may be some.
 * @typedef {{source: string, box: Box, paint: HTMLCanvasElement, painted: boolean}} Crop
 */
/**
 * The crop being edited. `address`: the slot's current picture; `image`: the whole picture.
 * @typedef {Crop & {slot: number, address: string, image: HTMLImageElement, size: Size}} Work
 */

/** @type {(size: Size) => HTMLCanvasElement} */
export const canvasOf = ({ width, height }) => Object.assign(document.createElement("canvas"), { width, height });

/** @type {(canvas: HTMLCanvasElement) => CanvasRenderingContext2D} */
export const contextOf = (canvas) => /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));

/** Throws if the browser cannot read it. @type {(address: string) => Promise<HTMLImageElement>} */
export async function decoded(address) {
  const image = Object.assign(new Image(), { src: address });
  await image.decode();
  return image;
}

/** The picture inside `box`, on white, without its erased parts. @type {(work: Work, box: Box) => HTMLCanvasElement} */
export function rendered({ image, paint, size }, box) {
  const { left, top, width, height } = pixelsOf(box, size);
  const canvas = canvasOf({ width, height });
  const context = contextOf(canvas);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  for (const layer of [image, paint]) context.drawImage(layer, left, top, width, height, 0, 0, width, height);
  return canvas;
}

/**
 * The paint of a mask, resized to the picture's size.
 * @type {(mask: HTMLImageElement, size: Size) => HTMLCanvasElement}
 */
export function paintOf(mask, size) {
  const paint = canvasOf(size);
  const context = contextOf(paint);
  context.drawImage(mask, 0, 0, size.width, size.height);
  const pixels = context.getImageData(0, 0, size.width, size.height);
  toPaint(pixels.data);
  context.putImageData(pixels, 0, 0);
  return paint;
}

/** What `paint` erases. @type {(paint: HTMLCanvasElement) => "all" | "nothing" | "part"} */
export const erasedBy = (paint) => erased(contextOf(paint).getImageData(0, 0, paint.width, paint.height).data);
