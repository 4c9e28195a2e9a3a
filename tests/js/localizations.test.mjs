// The German and the Japanese words of the page: complete, and with the same placeholders.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

import { MESSAGES } from "../../javascript/anyms/model/hints.mjs";

const VIEW = new URL("../../javascript/anyms/view/", import.meta.url);
const wordsOf = (name) => JSON.parse(readFileSync(new URL(`../../localizations/${name}.json`, import.meta.url), "utf-8"));
const placeholders = (text) => [...text.matchAll(/\{\w+\}/g)].map(([placeholder]) => placeholder).sort();

/** The labels that a module passes to t() directly, also after a question mark. */
function labelsOf(code) {
  const joined = code.replace(/"\s*\+\s*"/g, "");
  const calls = [...joined.matchAll(/\bt\(\s*(?:[\w.[\] >=!]*\? )?"((?:[^"\\]|\\.)*)"(?: : "((?:[^"\\]|\\.)*)")?/g)];
  return calls.flatMap(([, one, other]) => [one, other]).filter((label) => label);
}

for (const name of ["de_DE", "ja_JP"]) {
  const words = wordsOf(name);

  test(`${name} has every label of the page`, () => {
    const labels = new Set(Object.values(MESSAGES));
    for (const file of readdirSync(VIEW)) {
      for (const label of labelsOf(readFileSync(new URL(file, VIEW), "utf-8"))) labels.add(label);
    }
    assert.ok(labels.size > 100);
    assert.deepEqual([...labels].filter((label) => !(label in words)), []);
  });

  test(`${name} keeps the placeholders and joins nothing`, () => {
    for (const [label, translation] of Object.entries(words)) {
      assert.deepEqual(placeholders(translation), placeholders(label), label);
      assert.ok(translation.trim(), label);
    }
  });
}

test("both languages have the same labels", () => {
  assert.deepEqual(Object.keys(wordsOf("de_DE")), Object.keys(wordsOf("ja_JP")));
});
