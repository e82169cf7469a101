// The look of a worker: one of eight colours, filled or hollow, and two letters of its name.

import { el } from "./dom.js";

const NUM_COLOURS = 8;

/** The CSS classes of a worker by its place in the team; -1 is a person outside the team. */
export function look(place) {
  if (place < 0) return "outside";
  const hollow = place % (2 * NUM_COLOURS) >= NUM_COLOURS ? " hollow" : "";
  return `worker${place % NUM_COLOURS}${hollow}`;
}

/** The two letters of a worker. */
export const letters = (name) => Array.from(name).slice(0, 2).join("");

/** A worker's badge, which is shown beside its name. */
export const badge = (place, name) =>
  el("span", { class: `badge ${look(place)}`, "aria-hidden": "true" }, letters(name));
