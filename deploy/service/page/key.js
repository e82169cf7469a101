// The user's key: asked for once, kept for this tab.

import { byId } from "./dom.js";

const PLACE = "hogwild-key";

/** The entered key, or null. */
export const key = () => sessionStorage.getItem(PLACE);

/** Ask for a key; resolves to whether one was entered. */
export function askForKey(why) {
  const dialog = byId("key-dialog");
  const input = byId("key");
  byId("key-why").textContent = why;
  input.value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    byId("key-form").onsubmit = (event) => {
      event.preventDefault();
      if (!input.value.trim()) return input.focus();
      sessionStorage.setItem(PLACE, input.value.trim());
      dialog.close("given");
    };
    byId("key-cancel").onclick = () => dialog.close("");
    dialog.oncancel = () => { dialog.returnValue = ""; };
    dialog.onclose = () => resolve(dialog.returnValue === "given");
  });
}
