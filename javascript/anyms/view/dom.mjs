// Helpers for building elements: translation, attributes, icons, buttons, colours.

/** @typedef {Record<string, string | number | boolean | undefined | ((event: any) => void)>} Properties */

/** @typedef {import("../model/boxes.mjs").Box} Box */

/**
 * A label in the host's language; English if the host has no translation. Only whole labels are translated: languages
 * differ in word order, so values replace {placeholders} afterwards.
 * @type {(label: string, values?: Record<string, string | number>) => string}
 */
export function t(label, values = {}) {
  const translate = /** @type {any} */ (window).getTranslation;
  const translated = (typeof translate === "function" && translate(label)) || label;
  return translated.replace(/\{(\w+)\}/g, (/** @type {string} */ placeholder, /** @type {string} */ name) => {
    return name in values ? String(values[name]) : placeholder;
  });
}

/**
 * Builds an element. Functions are listeners and their names start with "on"; "role" and names with a dash are
 * attributes.
 * @param {string} tag
 * @param {Properties} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "role" || name.includes("-")) element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  element.append(...children);
  return element;
}

/**
 * Sets an attribute if it changed. Saves the browser work, and keeps screen readers from repeating it.
 * @type {(node: HTMLElement, name: string, value: string) => void}
 */
export function attribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Sets a text if it changed. @type {(node: HTMLElement, content: string) => void} */
export function text(node, content) {
  if (node.textContent !== content) node.textContent = content;
}

/** A style sheet of these rules. @type {(rules: string) => CSSStyleSheet} */
export function styleSheet(rules) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(rules);
  return sheet;
}

/** CSS that places an element over a box. @type {(box: Box) => Partial<CSSStyleDeclaration>} */
export const placed = (box) => ({
  left: `${box[0] * 100}%`,
  top: `${box[1] * 100}%`,
  width: `${(box[2] - box[0]) * 100}%`,
  height: `${(box[3] - box[1]) * 100}%`,
});

/** CSS clip path of everything outside a box. @type {(box: Box) => string} */
export function outside(box) {
  const [x0, y0, x1, y1] = box.map((edge) => `${(edge * 100).toFixed(2)}%`);
  const hole = `${x0} ${y0}, ${x1} ${y0}, ${x1} ${y1}, ${x0} ${y1}, ${x0} ${y0}`;
  return `polygon(evenodd, 0 0, 100% 0, 100% 100%, 0 100%, 0 0, ${hole})`;
}

const ICONS = {
  undo: "M6 3.5 2.5 7 6 10.5M3 7h6.5a3.25 3.25 0 0 1 0 6.5H7",
  redo: "M10 3.5 13.5 7 10 10.5M13 7H6.5a3.25 3.25 0 0 0 0 6.5H9",
  add: "M8 3v10M3 8h10",
  remove: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5 5 13h6l.5-8.5",
  left: "M12.5 8h-9M7 4 3 8l4 4",
  up: "M8 12.5v-9M4 7l4-4 4 4",
  down: "M8 3.5v9M4 9l4 4 4-4",
  snap: "M2.5 2.5h11v11h-11zM6.2 2.5v11M9.8 2.5v11M2.5 6.2h11M2.5 9.8h11",
  sideBySide: "M2.5 3.5h4.5v9H2.5zM9 3.5h4.5v9H9z",
  thirds: "M2 3.5h3v9H2zM6.5 3.5h3v9h-3zM11 3.5h3v9h-3z",
  grid: "M2.5 2.5h4.5v4.5H2.5zM9 2.5h4.5v4.5H9zM2.5 9h4.5v4.5H2.5zM9 9h4.5v4.5H9z",
  groupPhoto:
    "M5.5 5.5a1.8 1.8 0 1 1-.01 0M10.5 5.5a1.8 1.8 0 1 1-.01 0" +
    "M2.3 13c0-2.6 1.4-3.6 3.2-3.6S8 10.4 8 13c0-2.6.7-3.6 2.5-3.6s3.2 1 3.2 3.6",
  save: "M8 2.5v7M5 6.5l3 3 3-3M2.5 10.5v3h11v-3",
  open: "M2.5 12.5v-9h4l1.5 2h5.5v7zM2.5 7.5h11",
  compare: "M2 3.5h3.3v9H2zM6.35 3.5h3.3v9h-3.3zM10.7 3.5H14v9h-3.3zM3 10l.7-1.5",
  "compare-words": "M2 3.5h5.2v9H2zM8.8 3.5H14v9H8.8zM3.4 6h2.4M3.4 8h2.4M10.2 6h2.4M10.2 8h2.4M10.2 10h2.4",
  positions: "M2.5 2.5h11v11h-11zM5 5h2.5v2.5H5zM9.5 10h2M9.5 8h2",
  refine: "M7 2.5a4.5 4.5 0 1 0 .01 0M10.3 10.3l3.7 3.7M7 5v4M5 7h4",
  maps: "M8 2.5a5.5 5.5 0 1 0 .01 0M8 5.5a2.5 2.5 0 1 0 .01 0",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  check: "M3 8.5l3.3 3.3L13 4.5",
  warning: "M8 2.5 14 13H2zM8 6.5v3M8 11.2v.1",
  hint: "M8 2.5a5.5 5.5 0 1 0 .01 0M8 7.3v3.7M8 5v.1",
  crop: "M4.5 1.5v10h10M1.5 4.5h10v10",
  lock: "M4 7.5h8v6H4zM5.8 7.5V5.2a2.2 2.2 0 0 1 4.4 0v2.3",
  power: "M8 2v5.5M4.8 4a5 5 0 1 0 6.4 0",
  enlarge: "M9.5 2.5h4v4M13.5 2.5 9 7M6.5 13.5h-4v-4M2.5 13.5 7 9",
  give: "M6.5 3.5h-4v9h4M6 8h7.5M10.5 5l3 3-3 3",
  larger: "M6.5 2.5a4 4 0 1 0 .01 0M9.5 9.5l4 4M4.7 6.5h3.6M6.5 4.7v3.6",
  smaller: "M6.5 2.5a4 4 0 1 0 .01 0M9.5 9.5l4 4M4.7 6.5h3.6",
  fields: "M2.5 4.5h11v2.5h-11zM2.5 9.5h11V12h-11z",
};

/** @typedef {keyof typeof ICONS} Icon */

/** @type {(name: Icon) => SVGElement} */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(svg.namespaceURI, "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return /** @type {SVGElement} */ (svg);
}

/**
 * A button with an icon. Its label is its accessible name and its tip.
 * @param {Icon} name
 * @param {string} label translated
 * @param {() => void} onclick
 * @param {{shown?: boolean}} [options] shown: the label stands beside the icon
 * @returns {HTMLButtonElement}
 */
export function button(name, label, onclick, { shown } = {}) {
  const children = shown ? [icon(name), make("span", {}, label)] : [icon(name)];
  const properties = { type: "button", title: label, "aria-label": label, onclick };
  return /** @type {HTMLButtonElement} */ (make("button", properties, ...children));
}

/**
 * A button with text only.
 * @type {(label: string, onclick: () => void, properties?: Properties) => HTMLButtonElement}
 */
export function textButton(label, onclick, properties = {}) {
  return /** @type {HTMLButtonElement} */ (make("button", { type: "button", onclick, ...properties }, label));
}

// Distinct with any kind of colour vision, and light enough for dark text. Each box also shows its number.
const COLOURS = "#f0a830 #6cbcf0 #35c08e #ee93c4 #f2e55c #8fa8ff #ff9a72 #c0c4cc #a5d86a #cda6f7 #e8c39e #74dada".split(
  " ",
);

/** @type {(slot: number) => string} */
export const colourOf = (slot) => COLOURS[(slot - 1) % COLOURS.length];
