// Small helpers for building elements, and the words on them.

/** @typedef {Record<string, string | number | boolean | undefined | ((event: any) => void)>} Properties */

/** In the host's language where it has a word. @type {(words: string) => string} */
export function t(words) {
  const translate = /** @type {any} */ (window).getTranslation;
  return (typeof translate === "function" && translate(words)) || words;
}

/**
 * Properties starting with "on" are listeners, ones with a dash or named "role" are attributes.
 * @param {string} tag
 * @param {Properties} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (name === "role" || name.includes("-")) made.setAttribute(name, String(value));
    else Object.assign(made, { [name]: value });
  }
  made.append(...children);
  return made;
}

/** Sets what has changed: no needless work for the browser, no repeated announcement. @type {(node: HTMLElement, name: string, value: string) => void} */
export function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** @type {(node: HTMLElement, words: string) => void} */
export function text(node, words) {
  if (node.textContent !== words) node.textContent = words;
}

const ICONS = {
  undo: "M6 3.5 2.5 7 6 10.500M3 7h6.500a3.250 3.250 0 0 1 0 6.500H7",
  redo: "M10 3.500 13.500 7 10 10.500M13 7H6.500a3.250 3.250 0 0 0 0 6.500H9",
  add: "M8 3v10M3 8h10",
  remove: "M3 4.500h10M6.500 4.500V3h3v1.500M4.500 4.500 5 13h6l.500-8.500",
  left: "M12.500 8h-9M7 4 3 8l4 4",
  up: "M8 12.500v-9M4 7l4-4 4 4",
  down: "M8 3.500v9M4 9l4 4 4-4",
  snap: "M2.500 2.500h11v11h-11zM6.200 2.500v11M9.800 2.500v11M2.500 6.200h11M2.500 9.800h11",
  sideBySide: "M2.500 3.500h4.500v9H2.500zM9 3.500h4.500v9H9z",
  thirds: "M2 3.500h3v9H2zM6.500 3.500h3v9h-3zM11 3.500h3v9h-3z",
  grid: "M2.500 2.500h4.500v4.500H2.500zM9 2.500h4.500v4.500H9zM2.500 9h4.500v4.500H2.500zM9 9h4.500v4.500H9z",
  groupPhoto: "M5.500 5.500a1.800 1.800 0 1 1-.010 0M10.500 5.500a1.800 1.800 0 1 1-.010 0M2.300 13c0-2.600 1.400-3.600 3.200-3.600S8 10.400 8 13c0-2.600.7-3.600 2.500-3.600s3.200 1 3.200 3.600",
  save: "M8 2.500v7M5 6.500l3 3 3-3M2.500 10.500v3h11v-3",
  open: "M2.500 12.500v-9h4l1.500 2h5.500v7zM2.500 7.500h11",
  compare: "M2 3.500h3.300v9H2zM6.350 3.500h3.300v9h-3.300zM10.700 3.500H14v9h-3.300zM3 10l.700-1.500",
  maps: "M8 2.500a5.500 5.500 0 1 0 .010 0M8 5.500a2.500 2.500 0 1 0 .010 0",
  copy: "M5.500 5.500v-3h8v8h-3M2.500 5.500h8v8h-8z",
  check: "M3 8.500l3.300 3.300L13 4.500",
  warning: "M8 2.500 14 13H2zM8 6.500v3M8 11.200v.100",
  hint: "M8 2.500a5.500 5.500 0 1 0 .010 0M8 7.300v3.700M8 5v.100",
  fields: "M2.500 4.500h11v2.500h-11zM2.500 9.500h11V12h-11z",
};

/** @typedef {keyof typeof ICONS} Icon */

/** @type {(name: Icon) => SVGElement} */
export function icon(name) {
  const drawn = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 16 16", "aria-hidden": "true" })) drawn.setAttribute(key, value);
  const path = document.createElementNS(drawn.namespaceURI, "path");
  path.setAttribute("d", ICONS[name]);
  drawn.append(path);
  return /** @type {SVGElement} */ (drawn);
}

/**
 * A button with a picture; `words` are its name and its tip, of `slot` if it has one.
 * @param {Icon} name
 * @param {string} words
 * @param {() => void} onclick
 * @param {{slot?: number, shown?: boolean}} [further] shown: the words stand beside the picture
 * @returns {HTMLButtonElement}
 */
export function button(name, words, onclick, { slot, shown } = {}) {
  const told = slot ? `${t(words)} ${slot}` : t(words);
  const label = shown ? [make("span", {}, told)] : [];
  const properties = { type: "button", title: told, "aria-label": told, onclick };
  return /** @type {HTMLButtonElement} */ (make("button", properties, icon(name), ...label));
}

// Told apart by people with any kind of colour vision, and light enough for dark words; numbers tell them apart too.
const COLOURS = "#f0a830 #6cbcf0 #35c08e #ee93c4 #f2e55c #8fa8ff #ff9a72 #c0c4cc #a5d86a #cda6f7 #e8c39e #74dada".split(" ");

/** @type {(slot: number) => string} */
export const colourOf = (slot) => COLOURS[(slot - 1) % COLOURS.length];
