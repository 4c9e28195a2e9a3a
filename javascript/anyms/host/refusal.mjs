// The pages of some hosts do not tell why a job was stopped: where AnyMS refused it, its sentence takes the place of their words.

const ADDRESS = "./anyms/v1/refusal";

/** What is to be read under the pictures: the host's words, unless they lack our sentence. @type {(words: string, sentence: string) => string} */
export const toldFor = (words, sentence) => (!sentence || words.includes(sentence) ? words : sentence);

/** Why the last job was refused; "" where it was not, or nobody answers. @returns {Promise<string>} */
async function lastRefusal() {
  const answer = await fetch(ADDRESS).catch(() => null);
  return answer?.ok ? ((await answer.json()).sentence ?? "") : "";
}

/** Watch a tab's line under the pictures for jobs that failed. @type {(tab: string) => void} */
export function tellRefusals(tab) {
  const log = document.getElementById(`html_log_${tab}`);
  if (!log) return;
  /** The host's own words. @type {WeakMap<Element, string>} */
  const words = new WeakMap();
  const look = async () => {
    const shown = log.querySelector(".error");
    if (!shown) return;
    const own = words.get(shown) ?? shown.textContent ?? "";
    words.set(shown, own);
    const told = toldFor(own, await lastRefusal());
    if (shown.textContent !== told) shown.textContent = told;
  };
  // a second failure may say the same in the same words: then only the mark of waiting comes and goes
  new MutationObserver(look).observe(log, { childList: true, subtree: true, attributes: true, attributeFilter: ["class"] });
}
