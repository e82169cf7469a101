// States and reasons in plain words.

import { isOver, numTokens } from "./state.js";

const SESSION_ENDS = {
  all_stopped: "Everybody is done",
  answered: "The team has its answer",
  cancelled: "Stopped",
  max_total_tokens: "The team has used all its tokens",
  context_limit: "The text is as long as the model can read",
  cache_limit: "The memory for this session is full",
  timeout: "Time is up",
};

const WORKER_STOPS = {
  end_of_text: "finished",
  stop_string: "finished",
  max_tokens: "out of tokens",
  paragraph_limit: "finished its paragraphs",
  step_limit: "out of steps",
  answered: "done, answered",
  left: "left the team",
  cancelled: "stopped",
  max_total_tokens: "team out of tokens",
  context_limit: "text too long to go on",
  cache_limit: "memory is full",
  timeout: "time is up",
  all_stopped: "done",
};

/** A number with its noun. */
export const count = (number, noun) =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** What the session is doing. */
export function phase(state) {
  if (state.phase === "failed") return "Ended early";
  if (isOver(state)) return SESSION_ENDS[state.endReason] ?? plain(state.endReason ?? "Ended");
  if (state.phase === "waiting") return waiting(state.ahead);
  if (state.statements.length) return "The team is asked for its answer";
  return "Running";
}

/** What a worker is doing, where it does not write. */
export const stopped = (reason) => WORKER_STOPS[reason] ?? plain(reason);

/** Tokens, speed and steps. */
export function numbers(state) {
  const tokens = numTokens(state);
  const rate = state.seconds ? tokens / state.seconds : 0;
  return [
    count(tokens, "token"),
    `${rate.toFixed(rate < 100 ? 1 : 0)} tokens/s`,
    count(state.step, "step"),
  ];
}

function waiting(ahead) {
  if (ahead === null) return "Waiting in the queue";
  return ahead ? `Waiting in the queue, ${count(ahead, "session")} ahead` : "Next in the queue";
}

const plain = (reason) => reason.replaceAll("_", " ");
