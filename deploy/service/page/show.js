// A session on the page, from its first state to its end.

import { prepareActions, showActions } from "./actions.js";
import { announce } from "./announce.js";
import { showAnswer } from "./answer.js";
import { session as fetchSession } from "./api.js";
import { Columns } from "./columns.js";
import { byId, el, showText } from "./dom.js";
import { History } from "./history.js";
import { animateMove } from "./motion.js";
import { initialState, isOver, nextState, refreshed } from "./state.js";
import { follow } from "./stream.js";
import { Talk } from "./talk.js";
import { showViews } from "./views.js";
import { numbers, phase } from "./words.js";

const MAX_ANIMATED = 3;

/** Show a session in its present state, and follow it. */
export function showSession(session) {
  let state = initialState(session);
  const queued = [];
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
      if (!queued.length) requestAnimationFrame(() => apply(queued.splice(0)));
      queued.push([kind, data]);
    },
    connected(isConnected) {
      const fine = isConnected || isOver(state);
      showText(byId("connection"), fine ? "" : "The connection is lost; trying again…");
    },
    gone(why) {
      showText(byId("connection"), "");
      apply([["end", { state: "failed", end_reason: null, error: why, answer: null }]]);
    },
  });

  /** Apply messages, and draw once. */
  function apply(messages) {
    const before = state;
    state = messages.reduce((known, [kind, data]) => nextState(known, kind, data), state);
    draw(before);
    if (before.workers.length !== state.workers.length) refresh();
  }

  /** Fetch roles and views after the team has changed. */
  async function refresh() {
    const session = await fetchSession(state.id).catch(() => null);
    if (!session) return;
    const before = state;
    state = refreshed(state, session);
    draw(before);
  }

  function draw(before) {
    showStatus(state);
    showActions(state);
    showAnswer(state);
    showText(byId("failure"), state.phase === "failed" ? state.error ?? "" : "");
    columns.update(state);
    const added = history.update(state);
    if (state.views !== before?.views) showViews(byId("views"), state);
    talk.update(before ?? state, state);
    if (!before) return;
    announce(before, state);
    if (added.length > MAX_ANIMATED) return;
    for (const { paragraph, item } of added) animateMove(columns.of(paragraph.name), item);
  }
}

/** Show the problem; a long one can be scrolled, also with the keyboard. */
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
