// Announcements for screen readers: changes of state and finished paragraphs, not every token.

import { byId } from "./dom.js";
import { count, phase, stopped } from "./words.js";

const MANY = 3;

/** Announce what has changed between two states. */
export function announce(before, state) {
  const sentences = [...paragraphs(before, state), ...stops(before, state)];
  if (phase(before) !== phase(state)) sentences.push(`${phase(state)}.`);
  if (before.answer !== state.answer) sentences.push(`The answer: ${state.answer}.`);
  if (sentences.length) byId("announcer").textContent = sentences.join(" ");
}

function paragraphs(before, state) {
  const added = state.history.slice(before.history.length);
  if (added.length > MANY) return [`${count(added.length, "paragraph")} in the shared history.`];
  return added.map(({ name, pieces }) => `${name}: ${pieces.map((one) => one.text).join("")}`);
}

function stops(before, state) {
  const known = new Map(before.workers.map((one) => [one.name, one]));
  return state.workers
    .filter((one) => one.stopped && !known.get(one.name)?.stopped)
    .map((one) => `${one.name}: ${stopped(one.stopped)}.`);
}
