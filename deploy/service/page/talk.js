// The forms that speak to a running team and change it.

import { join, leave, say } from "./api.js";
import { byId, note } from "./dom.js";

/** The forms under the columns; a note confirms each change until its event arrives. */
export class Talk {
  constructor(id) {
    this.id = id;
    this.asked = false;
    const { text } = byId("say-form").elements;
    const { name, role } = byId("join-form").elements;
    byId("say-form").onsubmit = (event) => {
      event.preventDefault();
      this.#ask(() => say(id, text.value), "Sent; the team reads it from its next step on.", [text]);
    };
    byId("join-form").onsubmit = (event) => {
      event.preventDefault();
      const sentence = `${name.value} joins at the next step.`;
      this.#ask(() => join(id, name.value, role.value), sentence, [name, role]);
    };
  }

  /** Remove a worker. */
  async leave(name, button) {
    button.disabled = true;
    const sentence = `${name} leaves when its paragraph ends.`;
    button.disabled = await this.#ask(() => leave(this.id, name), sentence, []);
  }

  /** Show the result of a change. */
  update(before, state) {
    byId("talk").hidden = state.phase !== "running";
    if (!this.asked) return;
    if (state.refusals.length > before.refusals.length) this.#answered(state.refusals.at(-1), true);
    else if (changed(before, state)) this.#answered("");
  }

  async #ask(action, sentence, fields) {
    this.asked = true;
    note(byId("talk-note"), "");
    try {
      await action();
      for (const field of fields) field.value = "";
      if (this.asked) note(byId("talk-note"), sentence);
      return true;
    } catch (error) {
      this.#answered(error.message, true);
      return false;
    }
  }

  #answered(sentence, failed = false) {
    this.asked = false;
    note(byId("talk-note"), sentence, failed);
  }
}

function changed(before, state) {
  const said = state.history.slice(before.history.length).some((one) => one.index === null);
  return said || state.workers.length > before.workers.length || numLeft(state) > numLeft(before);
}

const numLeft = (state) => state.workers.filter((one) => one.stopped === "left").length;
