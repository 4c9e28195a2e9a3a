// The one file the host loads. Its parts are asked for by version, so that an update never meets an older part in a cache.

import { AnymsEditor, elements } from "./anyms/element.mjs?v=0.1.0";

/** @param {string} tab */
function resized(tab) {
  for (const { editor } of elements.values()) if (editor?.fields.tab === tab) editor.refresh();
}

// What gradio's listeners call: a field of ours has changed, or the picture of a tab has another size; see lib_anyms/ui/editor.py.
Object.assign(window, { anyms: { changed: (/** @type {string} */ prefix) => elements.get(prefix)?.editor?.refresh(), resized } });
if (!customElements.get("anyms-editor")) customElements.define("anyms-editor", AnymsEditor);
