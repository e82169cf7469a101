// The answer, while it is being written and when it is final.

import { byId, el } from "./dom.js";

const SHORT = 60;

/** Show the answer, and each worker's own answer if there are several. */
export function showAnswer(state) {
  const { answer, answers, statements } = state;
  const text = answer ?? statements.map(chosen).find(Boolean) ?? "";
  const alone = answers.filter((one) => one.answer !== null);
  byId("answer").hidden = !text && !statements.length;
  byId("answer").classList.toggle("stated", answer !== null);
  byId("answer").classList.toggle("short", answer !== null && answer.length < SHORT);
  if (byId("answer-text").textContent !== text) byId("answer-text").textContent = text;
  const each = byId("answer-each");
  each.hidden = alone.length < 2;
  if (each.childElementCount === alone.length) return;
  each.replaceChildren(...alone.map((one) =>
    el("li", {}, el("strong", {}, one.name.replace(/^Finisher of /, "")), ` ${one.answer}`)));
}

/** The text so far of an answer that is being written. */
const chosen = ({ pieces }) =>
  pieces.filter((piece) => piece.chosen).map((piece) => piece.text).join("").trim();
