// Drafts in the browser's database, one a tab of the host. Where the browser stores nothing, there are none.

const [DATABASE, STORE] = ["anyms", "drafts"];

/** @type {() => Promise<IDBDatabase>} */
function opened() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(DATABASE, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/**
 * The result of one request to the store; null if it fails.
 * @type {(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest) => Promise<any>}
 */
async function ask(mode, act) {
  try {
    const database = await opened();
    return await new Promise((resolve, reject) => {
      const transaction = database.transaction(STORE, mode);
      const request = act(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result ?? null);
      transaction.onerror = () => reject(transaction.error);
      transaction.onabort = () => reject(transaction.error);
    }).finally(() => database.close());
  } catch {
    return null;
  }
}

/** @type {(tab: string) => Promise<unknown>} */
export const readStored = (tab) => ask("readonly", (store) => store.get(tab));

/** @type {(tab: string, draft: unknown) => Promise<unknown>} */
export const store = (tab, draft) => ask("readwrite", (drafts) => drafts.put(draft, tab));

/** @type {(tab: string) => Promise<unknown>} */
export const discard = (tab) => ask("readwrite", (store) => store.delete(tab));
