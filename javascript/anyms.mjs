// The only file that the host loads. Its imports carry a version, so that an update never mixes with old files of a
// cache.

import { setCheckpoint } from "./anyms/host/page.mjs?v=31cf827f";
import { AnymsEditor, elements } from "./anyms/view/element.mjs?v=31cf827f";

// gradio's listeners call these three; see lib_anyms/webui/ui/editor.py.

/** A field of the panel has changed. @param {string} prefix */
function changed(prefix) {
  elements.get(prefix)?.editor?.refresh();
}

/** The picture of a tab has another size. @param {string} tab */
function resized(tab) {
  for (const { editor } of elements.values()) {
    if (editor?.fields.tab === tab) editor.refresh();
  }
}

/** Another checkpoint was chosen. @param {unknown} name in the host's list */
function checkpoint(name) {
  setCheckpoint(String(name ?? ""));
  for (const { editor } of elements.values()) editor?.refresh();
}

Object.assign(window, { anyms: { changed, resized, checkpoint } });
if (!customElements.get("anyms-editor")) customElements.define("anyms-editor", AnymsEditor);
