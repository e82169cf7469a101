// States and stop reasons in plain words.

import { isOver, numTokens } from "./state.js";

const SESSION_ENDS = {
  all_stopped: "All workers are done",
  answered: "The team has its answer",
  cancelled: "Stopped",
  max_total_tokens: "The team has used all its tokens",
  context_limit: "The text has reached the model's limit",
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
  context_limit: "text too long to continue",
  cache_limit: "memory is full",
  timeout: "time is up",
  all_stopped: "done",
};

/** A number with its noun. */
export const count = (number, noun) =>
  `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** The state of a session. */
export function phase(state) {
  if (state.phase === "failed") return "Ended early";
  if (isOver(state)) return SESSION_ENDS[state.endReason] ?? plain(state.endReason ?? "Ended");
  if (state.phase === "waiting") return waiting(state.ahead);
  if (state.statements.length) return "The team is writing its answer";
  return "Running";
}

/** The reason why a worker stopped. */
export const stopped = (reason) => WORKER_STOPS[reason] ?? plain(reason);

/** The numbers of tokens and steps, and the speed. */
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
