// The API key, for gateways that ask for one. It is kept as long as this tab is open, and sent with every call.

import { byId } from "./dom.js";

const NAME = "visual-search.api_key";
const dialog = byId("key-dialog");
const field = byId("key");
const button = byId("key-button");
let held = ""; // where storage is forbidden, until the page is left
let changed = () => {};

export function key() {
  try {
    return sessionStorage.getItem(NAME) ?? held;
  } catch {
    return held;
  }
}

function keep(value) {
  held = value;
  try {
    if (value) sessionStorage.setItem(NAME, value);
    else sessionStorage.removeItem(NAME);
  } catch {
    // kept in `held` alone
  }
  button.hidden = !value;
}

/** The headers that a call needs. */
export const headers = () => (key() ? { Authorization: `Bearer ${key()}` } : {});

/** Call `listener` when the person has given another key. */
export function onKey(listener) {
  changed = listener;
}

/** Ask for a key: the gateway wants one, or another. */
export function needKey(sentence) {
  button.hidden = false;
  byId("key-why").textContent = sentence;
  if (!dialog.open) dialog.showModal();
}

button.hidden = !key();
button.addEventListener("click", () => {
  field.value = key();
  needKey("This key is sent with everything that the page asks. It is forgotten when the tab is closed.");
});
byId("key-form").addEventListener("submit", () => {
  keep(field.value.trim());
  field.value = "";
  changed();
});
byId("key-cancel").addEventListener("click", () => dialog.close());
