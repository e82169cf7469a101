// How a worker looks: a colour of eight, filled or hollow, and two letters of the name.

import { el } from "./dom.js";

const NUM_COLOURS = 8;

/** The classes of a worker by its place in the team; -1 is somebody from outside. */
export function look(place) {
  if (place < 0) return "outside";
  const hollow = place % (2 * NUM_COLOURS) >= NUM_COLOURS ? " hollow" : "";
  return `worker${place % NUM_COLOURS}${hollow}`;
}

/** The two letters. */
export const letters = (name) => Array.from(name).slice(0, 2).join("");

/** A worker's badge; the name stands beside it. */
export const badge = (place, name) =>
  el("span", { class: `badge ${look(place)}`, "aria-hidden": "true" }, letters(name));
