// Files by their bytes, and pictures in a browser that falsifies canvases.

import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, filesIn, sorted } from "../../javascript/anyms/host/files.mjs";
import { asOpacity, isFalsified, kindOf, KNOWN_ROW } from "../../javascript/anyms/model/file-kind.mjs";

const bytes = (text) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));
const PNG = bytes("\x89PNG\r\n\x1a\n....");
const JPEG = bytes("\xff\xd8\xff\xe0....");

test("a file is what its bytes are", () => {
  const kinds = {
    "RIFF....WEBPVP8 ": "image/webp",
    GIF89a: "image/gif",
    "....ftypavif": "image/avif",
    "....ftypheic": "image/heic",
    '{"version": 1}': "application/json",
    '\xef\xbb\xbf\n {"version": 1}': "application/json",
    "\xff\xfe{\0": "application/json",
    "[1]": "application/json",
    "a cat": "",
    "": "",
  };
  for (const [text, kind] of Object.entries(kinds)) assert.equal(kindOf(bytes(text)), kind, text);
  assert.equal(kindOf(PNG), "image/png");
  assert.equal(kindOf(JPEG), "image/jpeg");
});

test("neither a name nor a type makes a file a picture or a layout", async () => {
  const picture = new File([PNG], "notes.txt", { type: "text/plain" });
  const layout = new File(['{"version": 1}'], "cat.png", { type: "image/png" });
  const text = new File(["hello"], "layout.json", { type: "text/plain" });
  const unread = new File(["hello"], "cat.heic", { type: "image/heic" });
  assert.deepEqual(await sorted([text, layout, picture, unread]), { pictures: [picture, unread], layout });
});

test("the transfer's files are taken before it is emptied", async () => {
  const transfer = { files: [new File([PNG], "x")], getData: () => "" };
  const result = filesIn(transfer);
  transfer.files = [];
  assert.equal((await result).pictures.length, 1);
});

/** A browser with pictures of 2000 x 1000 pixels, whose canvases return `pixels`. */
function browserWith(pixels) {
  const context = { fillRect() {}, drawImage() {}, getImageData: () => ({ data: pixels }) };
  const canvas = { getContext: () => context, toBlob: (done) => done(new Blob(["encoded"], { type: "image/webp" })) };
  globalThis.document = { createElement: () => canvas };
  globalThis.createImageBitmap = async () => ({ width: 2000, height: 1000, close() {} });
  globalThis.FileReader = class extends EventTarget {
    async readAsDataURL(blob) {
      const content = Buffer.from(await blob.arrayBuffer()).toString("base64");
      this.result = `data:${blob.type};base64,${content}`;
      this.dispatchEvent(new Event("load"));
    }
  };
}

const honest = KNOWN_ROW.flatMap((colour) => [...[1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16)), 255]);

test("a browser that falsifies canvases sends the file itself", async () => {
  const base64 = Buffer.from(JPEG).toString("base64");
  const file = new File([JPEG], "cat.png", { type: "image/png" });
  browserWith(honest);
  assert.match(await addressOf(file), /^data:image\/webp;/);
  browserWith(honest.map(() => 255));
  assert.equal(await addressOf(file), `data:image/jpeg;base64,${base64}`);
  await assert.rejects(addressOf(new File(["GIF89a"], "cat.gif")));
  assert.ok(!isFalsified(honest.map((level) => Math.max(0, level - 3))));
});

test("a mask is opaque where it is white, or where it was opaque if a pixel is transparent", () => {
  const masked = (...pixels) => {
    const data = Uint8ClampedArray.from(pixels.flat());
    asOpacity(data);
    return [...data].filter((_, n) => n % 4 === 3);
  };
  assert.deepEqual(masked([255, 255, 255, 255], [0, 0, 0, 255], [0, 255, 0, 255]), [255, 0, 150]);
  assert.deepEqual(masked([0, 0, 0, 255], [255, 255, 255, 0], [9, 9, 9, 90]), [255, 0, 90]);
  const data = Uint8ClampedArray.from([0, 0, 0, 255, 9, 9, 9, 0]);
  asOpacity(data);
  assert.deepEqual([...data.slice(0, 3)], [255, 255, 255]); // white, for a reader that goes by brightness
});
