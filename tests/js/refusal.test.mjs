import assert from "node:assert/strict";
import { test } from "node:test";

import { tellRefusals, toldFor } from "../../javascript/anyms/host/refusal.mjs";

const WORDS = "TypeError: 'NoneType' object is not iterable", SENTENCE = "AnyMS: the box lies outside.";

test("our sentence takes the place of words that lack it", () => {
  assert.equal(toldFor(WORDS, SENTENCE), SENTENCE);
  assert.equal(toldFor(`Refused: ${SENTENCE}`, SENTENCE), `Refused: ${SENTENCE}`);
  assert.equal(toldFor(WORDS, ""), WORDS);
});

/** The line under the pictures, what it shows now, and a way to let the page change. */
function page(t, answers) {
  const shown = { textContent: WORDS };
  const log = { shown, querySelector: () => log.shown };
  let changed = () => Promise.resolve();
  const replaced = { document: globalThis.document, MutationObserver: globalThis.MutationObserver, fetch: globalThis.fetch };
  t.after(() => Object.assign(globalThis, replaced));
  Object.assign(globalThis, {
    document: { getElementById: (id) => (id === "html_log_txt2img" ? log : null) },
    MutationObserver: class {
      constructor(callback) {
        changed = callback;
      }
      observe() {}
    },
    fetch: async (address) => {
      assert.equal(address, "./anyms/v1/refusal");
      const answer = answers.shift();
      if (answer === undefined) throw new Error("nobody answers");
      return { ok: true, json: async () => ({ sentence: answer }) };
    },
  });
  tellRefusals("txt2img");
  tellRefusals("img2img"); // a page without that tab
  return { log, change: () => changed() };
}

test("a second failure in the same words is asked for anew", async (t) => {
  const { log, change } = page(t, [SENTENCE, "AnyMS: another.", "", undefined]);
  await change();
  assert.equal(log.shown.textContent, SENTENCE);
  await change();
  assert.equal(log.shown.textContent, "AnyMS: another.");
  await change();
  assert.equal(log.shown.textContent, WORDS, "the host's own failure keeps its words");
  await change();
  assert.equal(log.shown.textContent, WORDS);
  log.shown = null;
  await change();
});
