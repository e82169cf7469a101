// The page: the form that starts a session, or the session in the address.

import { info, session } from "./api.js";
import { byId, showText } from "./dom.js";
import { askForKey } from "./key.js";
import { showSession } from "./show.js";
import { prepareStart } from "./start.js";

async function open() {
  const id = location.hash.slice(1);
  const about = await info();
  byId("about").textContent = `${about.model} · ${about.visibility}`;
  byId("key-button").hidden = !about.needs_key;
  byId("key-button").onclick = () => askForKey("It is sent with every request to the service.");
  prepareStart(about, started);
  if (id) await show(id);
  else showStart();
}

async function show(id) {
  try {
    showSession(await session(id));
  } catch (error) {
    showText(byId("trouble"), error.message);
    showStart();
  }
}

function showStart() {
  byId("start").hidden = false;
  if (matchMedia("(pointer: fine)").matches) byId("problem").focus();
}

function started(session) {
  history.pushState(null, "", `/#${session.id}`);
  byId("start").hidden = true;
  showText(byId("trouble"), "");
  showSession(session);
  byId("session-problem").focus();
}

addEventListener("hashchange", () => location.reload());
open().catch((error) => showText(byId("trouble"), error.message));
