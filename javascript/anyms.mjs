// The one file the host loads. Its parts are asked for by version, so that an update never meets an older part in a cache.

import { AnymsEditor, elements } from "./anyms/host/element.mjs?v=0.1.0";
import { chooseCheckpoint } from "./anyms/host/page.mjs?v=0.1.0";

/** @param {string} tab */
function resized(tab) {
  for (const { editor } of elements.values()) if (editor?.fields.tab === tab) editor.refresh();
}

/** @param {unknown} name as the host's list has it */
function checkpoint(name) {
  chooseCheckpoint(String(name ?? ""));
  for (const { editor } of elements.values()) editor?.refresh();
}

// What gradio's listeners call: a field of ours has changed, the picture of a tab has another size, or another checkpoint was chosen;
// see lib_anyms/webui/ui/editor.py.
const changed = (/** @type {string} */ prefix) => elements.get(prefix)?.editor?.refresh();
Object.assign(window, { anyms: { changed, resized, checkpoint } });
if (!customElements.get("anyms-editor")) customElements.define("anyms-editor", AnymsEditor);
