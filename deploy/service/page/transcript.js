// A session as plain text, for saving.

import { count, numbers, phase, stopped } from "./words.js";

/** The text of a session. */
export function transcript(state) {
  const parts = [
    state.problem,
    `Team ${state.team}, layout ${state.layout}; ${new Date(state.created * 1000).toISOString()}`,
    `${phase(state)}. ${numbers(state).join(", ")}.`,
    ...(state.error ? [state.error] : []),
    ...(state.answer === null ? [] : [`Answer: ${state.answer}`]),
    ...state.history.map((one) => labelled(paragraphLabel(one), one.pieces)),
    ...state.workers.filter((one) => one.pieces.length).map((one) => labelled(one.name, one.pieces)),
    state.workers.map(line).join("\n"),
  ];
  return `${parts.join("\n\n")}\n`;
}

const labelled = (label, pieces) =>
  `--- ${label} ---\n${pieces.map((piece) => piece.text).join("").trim()}`;

const paragraphLabel = ({ name, index }) => (index === null ? name : `${name} [${index}]`);

const line = ({ name, numTokens: tokens, stopped: reason }) =>
  `${name}: ${count(tokens, "token")}${reason ? `, ${stopped(reason)}` : ""}`;
