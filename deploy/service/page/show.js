// A session on the page, from its first state to its end.

import { prepareActions, showActions } from "./actions.js";
import { announce } from "./announce.js";
import { showAnswer } from "./answer.js";
import { session as look } from "./api.js";
import { Columns } from "./columns.js";
import { byId, el, tell } from "./dom.js";
import { History } from "./history.js";
import { fly } from "./motion.js";
import { after, beginning, isOver, refreshed } from "./state.js";
import { follow } from "./stream.js";
import { Talk } from "./talk.js";
import { showViews } from "./views.js";
import { numbers, phase } from "./words.js";

const MOST_FLIGHTS = 3;

/** Show a session, as far as it is, and go on with it. */
export function showSession(session) {
  let state = beginning(session);
  const waiting = [];
  const talk = new Talk(state.id);
  const columns = new Columns(byId("columns"), (name, button) => talk.leave(name, button));
  const history = new History(
    byId("history-pane"), byId("history-scroll"), byId("history"), byId("history-empty"));

  document.title = `${state.problem.slice(0, 60)} · hogwild`;
  byId("session").hidden = false;
  showProblem(state.problem);
  prepareActions(() => state);
  draw(null);
  follow(state.id, {
    message(kind, data) {
      if (!waiting.length) requestAnimationFrame(() => take(waiting.splice(0)));
      waiting.push([kind, data]);
    },
    connected(is) {
      tell(byId("connection"), is || isOver(state) ? "" : "The connection is lost; trying again…");
    },
    gone(why) {
      tell(byId("connection"), "");
      take([["end", { state: "failed", end_reason: null, error: why, answer: null }]]);
    },
  });

  /** Take in messages, and draw once. */
  function take(messages) {
    const before = state;
    state = messages.reduce((known, [kind, data]) => after(known, kind, data), state);
    draw(before);
    if (before.workers.length !== state.workers.length) refresh();
  }

  /** The team has changed: ask who sees what now. */
  async function refresh() {
    const now = await look(state.id).catch(() => null);
    if (!now) return;
    const before = state;
    state = refreshed(state, now);
    draw(before);
  }

  function draw(before) {
    showStatus(state);
    showActions(state);
    showAnswer(state);
    tell(byId("failure"), state.phase === "failed" ? state.error ?? "" : "");
    columns.update(state);
    const added = history.update(state);
    if (state.views !== before?.views) showViews(byId("views"), state);
    talk.update(before ?? state, state);
    if (!before) return;
    announce(before, state);
    if (added.length > MOST_FLIGHTS) return;
    for (const { paragraph, item } of added) fly(columns.of(paragraph.name), item);
  }
}

/** A problem too long for its place can be scrolled, with the keyboard too. */
function showProblem(problem) {
  const heading = byId("session-problem");
  heading.textContent = problem;
  if (heading.scrollHeight > heading.clientHeight) heading.tabIndex = 0;
}

function showStatus(state) {
  const status = byId("status");
  status.className = `status ${state.phase}`;
  const about = [`team ${state.team}`, `layout ${state.layout}`];
  const rest = state.phase === "waiting" ? about : [...numbers(state), ...about];
  status.replaceChildren(el("strong", {}, phase(state)), ...rest.map((one) => el("span", {}, one)));
}
