// The history that all workers read: finished paragraphs and messages to the team.

import { el } from "./dom.js";
import { badge, look } from "./look.js";
import { textStays } from "./state.js";
import { FollowEnd, Written } from "./written.js";

/** The list of paragraphs. */
export class History {
  /**
   * @param {HTMLElement} pane hidden if no paragraph can move to the history
   * @param {HTMLElement} scroller scrolls the list
   * @param {HTMLElement} list holds the paragraphs
   * @param {HTMLElement} empty shown while there is no paragraph
   */
  constructor(pane, scroller, list, empty) {
    this.pane = pane;
    this.list = list;
    this.empty = empty;
    this.follow = new FollowEnd(scroller);
    this.drawn = 0;
  }

  /** Show new paragraphs; returns them with their list items. */
  update(state) {
    this.pane.hidden = textStays(state) && !state.history.length;
    this.empty.hidden = state.history.length > 0;
    const added = state.history.slice(this.drawn).map((paragraph) => {
      const place = state.workers.findIndex((one) => one.name === paragraph.name);
      return { paragraph, item: drawn(paragraph, place) };
    });
    if (!added.length) return added;
    this.drawn = state.history.length;
    this.list.append(...added.map(({ item }) => item));
    this.follow.grown();
    return added;
  }
}

/** Pieces without the blank line that ends a paragraph. */
const withoutEnd = (pieces) => pieces.map((piece, index) =>
  (index === pieces.length - 1 ? { ...piece, text: piece.text.trimEnd() } : piece));

function drawn({ name, index, pieces }, place) {
  const text = el("p", { class: "text" });
  new Written(text).show(0, withoutEnd(pieces));
  const who = el("p", { class: "who" }, badge(place, name), el("strong", {}, name));
  if (index !== null) who.append(el("span", { class: "quiet number" }, `${index}`));
  return el("li", { class: look(place) }, who, text);
}
