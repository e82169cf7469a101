// The buttons of a session: stop it, share it, save it, delete it.

import { cancel, remove, trace } from "./api.js";
import { byId, el, note } from "./dom.js";
import { isOver } from "./state.js";
import { transcript } from "./transcript.js";

/** Connect the buttons; `current` returns the newest state. */
export function prepareActions(current) {
  const { id } = current();
  const name = id.split("-", 2).join("-");  // without the secret, which gives the right to read
  byId("stop").onclick = attempt(async () => {
    byId("stop").disabled = true;
    await cancel(id).catch((error) => {
      byId("stop").disabled = false;
      throw error;
    });
    return "";
  });
  byId("share").onclick = attempt(share);
  byId("save-text").onclick = attempt(() => save(`${name}.txt`, "text/plain", transcript(current())));
  byId("save-trace").onclick = attempt(async () =>
    save(`${name}.json`, "application/json", JSON.stringify(await trace(id))));
  byId("delete").onclick = () => byId("delete-dialog").showModal();
  byId("delete-cancel").onclick = () => byId("delete-dialog").close();
  byId("delete-form").onsubmit = attempt(async () => {
    await remove(id);
    location.replace("/");  // nor is the link in the browser's list of pages
    return "";
  });
}

/** Show the buttons that apply to a state. */
export function showActions(state) {
  byId("stop").hidden = isOver(state);
  byId("new").hidden = !isOver(state);
  byId("save-trace").hidden = !(state.phase === "ended" && state.trace);
}

/** Run an action and show its result. */
const attempt = (action) => async () => {
  try {
    note(byId("actions-note"), await action());
  } catch (error) {
    note(byId("actions-note"), error.message, true);
  }
};

async function share() {
  try {
    await navigator.clipboard.writeText(location.href);
    return "The link is copied. Anyone who has it can read this session.";
  } catch {
    return `Anyone who has this link can read this session: ${location.href}`;
  }
}

function save(name, type, text) {
  const link = el("a", { download: name, href: URL.createObjectURL(new Blob([text], { type })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return "";
}
