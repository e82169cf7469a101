// One column for each worker, which fills while the worker writes.

import { el } from "./dom.js";
import { badge, look } from "./look.js";
import { count, stopped } from "./words.js";
import { FollowEnd, Written } from "./written.js";

/** All columns. */
export class Columns {
  /**
   * @param {HTMLElement} root element that holds the columns
   * @param {function(string, HTMLElement)} leave removes the worker of this name, by its button
   */
  constructor(root, leave) {
    this.root = root;
    this.leave = leave;
    this.columns = [];
  }

  /** Show what has changed. */
  update(state) {
    state.workers.forEach((worker, place) => {
      this.columns[place] ??= this.#added(worker, place);
      this.columns[place].update(worker, state);
    });
    this.root.classList.toggle("many", state.workers.length > 3);
  }

  /** The column of a worker. */
  of(name) {
    return this.columns.find((column) => column.name === name)?.element;
  }

  #added(worker, place) {
    const column = new Column(worker, place, this.leave);
    this.root.append(column.element);
    return column;
  }
}

class Column {
  constructor({ name }, place, leave) {
    this.name = name;
    this.role = el("p", { class: "role quiet" });
    this.done = el("p", { class: "quiet number" });
    this.leave = el("button", {
      class: "leave plain", type: "button", title: `Let ${name} leave the team`,
      "aria-label": `Let ${name} leave the team`,
    }, "×");
    this.leave.onclick = () => leave(name, this.leave);
    const text = el("p", { class: "text" });
    const scroll = el("div", {
      class: "scroll", tabindex: "0", role: "region", "aria-label": `What ${name} is writing`,
    }, text);
    this.written = new Written(text);
    this.follow = new FollowEnd(scroll);
    this.element = el("article", { class: `column ${look(place)}`, "aria-label": name },
      el("header", {}, badge(place, name), el("h3", { title: name }, name), this.leave),
      this.done, this.role, scroll);
    this.last = {};
  }

  update(worker, state) {
    const running = state.phase === "running";
    if (worker === this.last.worker && running === this.last.running) return;
    const grown = worker.pieces !== this.last.worker?.pieces;
    this.last = { worker, running };
    this.role.textContent = worker.role;
    const reason = worker.stopped === null ? [] : [stopped(worker.stopped)];
    this.done.textContent = [count(worker.numTokens, "token"), ...reason].join(" · ");
    const writing = running && worker.stopped === null;
    this.leave.hidden = !writing;
    this.element.classList.toggle("writing", writing);
    this.written.show(worker.paragraph, worker.pieces);
    if (grown) this.follow.grown();
  }
}
