// A copied subject as text on the clipboard: between subjects, tabs and windows. What is pasted may come from anywhere,
// so it is read by the rules of layout files.

import { isObject, NoLayout, readSubject, SILHOUETTE } from "./exchange.mjs?v=31cf827f";
import { AUTO } from "./order.mjs?v=31cf827f";
import { MAX_PICTURES } from "./pictures.mjs?v=31cf827f";

/** @typedef {import("./boxes.mjs").Box} Box */
/** @typedef {import("./layout.mjs").Settings} Settings */
/** @typedef {import("./pictures.mjs").Pictures} Pictures */
/**
 * Everything of a subject but its layer.
 * @typedef {{box: Box, name: string, settings: Settings, pictures: Pictures}} Copy
 */

const MARK = "anyms-subject"; // the key by which a text is recognised
const VERSION = 1;
const LARGEST = 2 ** 26; // characters: eight large pictures

/** @type {(copy: Copy) => string} */
export function writeSubject({ box, name, settings, pictures }) {
  return JSON.stringify({ [MARK]: VERSION, name, box, ...settings, pictures });
}

/** Whether a copied subject is larger than one that can be pasted. @type {(text: string) => boolean} */
export const isTooLarge = (text) => text.length > LARGEST;

/** Whether a text is a copied subject, whole or damaged. @type {(text: string) => boolean} */
export const isSubject = (text) => text.startsWith(`{"${MARK}":`);

/** The subject in a text for which `isSubject` holds. Throws NoLayout. @type {(text: string) => Copy} */
export function readCopied(text) {
  const { pictures, role, name, ...entry } = parsed(text);
  delete entry[MARK];
  // A layout file has no automatic role, and numbers a subject without a name.
  const auto = role === AUTO;
  const subject = readSubject({ ...entry, name, ...(auto ? {} : { role }) }, "the copied subject");
  const { box, name: _, prompt = "", avoid = "", ...settings } = subject;
  const [silhouette] = checked(entry[SILHOUETTE] ? [entry[SILHOUETTE]] : []);
  const own = { ...settings, prompt, avoid, silhouette: silhouette ?? "", ...(auto && { role: AUTO }) };
  return { box, name, settings: own, pictures: checked(pictures) };
}

/** @type {(text: string) => any} */
function parsed(text) {
  if (isTooLarge(text)) throw new NoLayout("picture_large", "");
  try {
    const value = JSON.parse(text);
    if (isObject(value) && value[MARK] === VERSION && typeof value.name === "string") return value;
  } catch {
    // the same answer as for another version
  }
  throw new NoLayout("layout_form", "");
}

/** @type {(pictures: any) => Pictures} */
function checked(pictures) {
  const isPicture = (/** @type {any} */ one) => typeof one === "string" && one.startsWith("data:");
  if (!Array.isArray(pictures) || pictures.length > MAX_PICTURES || !pictures.every(isPicture)) {
    throw new NoLayout("layout_form", "");
  }
  return pictures;
}
