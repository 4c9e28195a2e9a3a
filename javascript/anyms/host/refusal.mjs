// Some hosts do not show why a job stopped. Where AnyMS refused the job, its message replaces theirs.

const ADDRESS = "./anyms/v1/refusal";

/** The host's text, or the refusal if the text lacks it. @type {(text: string, refusal: string) => string} */
export const withRefusal = (text, refusal) => (!refusal || text.includes(refusal) ? text : refusal);

/** Why AnyMS refused the last job; "" if it did not, or if the server does not answer. @returns {Promise<string>} */
async function lastRefusal() {
  const response = await fetch(ADDRESS).catch(() => null);
  if (!response?.ok) return "";
  return (await response.json()).sentence ?? "";
}

/** Watches the line under a tab's gallery for failed jobs. @type {(tab: string) => void} */
export function showRefusals(tab) {
  const log = document.getElementById(`html_log_${tab}`);
  if (!log) return;
  /** The host's own text. @type {WeakMap<Element, string>} */
  const texts = new WeakMap();
  const update = async () => {
    const line = log.querySelector(".error");
    if (!line) return;
    const hostText = texts.get(line) ?? line.textContent ?? "";
    texts.set(line, hostText);
    const shown = withRefusal(hostText, await lastRefusal());
    if (line.textContent !== shown) line.textContent = shown;
  };
  // A second failure may have the same text. Then only the class that marks a running job changes.
  const options = { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] };
  new MutationObserver(update).observe(log, options);
}
