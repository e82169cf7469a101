// The state of a session: pure functions from a state and a message to the next state.
//
// Workers are identified by name. A writer that is not a worker is a finisher, which states the
// answer.

/** The state before the first event. */
export function initialState(session) {
  return {
    id: session.id,
    problem: session.problem,
    team: session.team,
    layout: session.layout,
    trace: session.trace,
    created: session.created,
    phase: session.state,
    ahead: null,
    endReason: session.end_reason,
    error: session.error,
    answer: session.answer,
    answers: [],
    workers: session.workers.map(({ name, role }) => newWorker(name, role)),
    statements: [],
    history: [],
    refusals: [],
    views: session.views,
    step: 0,
    seconds: 0,
  };
}

/** The state after a message of the stream. */
export function nextState(state, kind, data) {
  switch (kind) {
    case "waiting":
      return { ...state, ahead: data.ahead ?? null };
    case "end":
      return {
        ...state,
        phase: data.state,
        endReason: data.end_reason,
        error: data.error,
        answer: data.answer ?? state.answer,
      };
    default: {
      const phase = state.phase === "waiting" ? "running" : state.phase;
      const seconds = state.seconds + data.seconds;
      const step = Math.max(state.step, data.step + 1);
      return data.events.reduce(afterEvent, { ...state, phase, seconds, step });
    }
  }
}

/** The state with the roles and views of a newer snapshot of the session. */
export function refreshed(state, session) {
  const roles = new Map(session.workers.map(({ name, role }) => [name, role]));
  const workers = state.workers.map((one) => ({ ...one, role: roles.get(one.name) ?? one.role }));
  return { ...state, workers, views: session.views };
}

/** Whether the session is over. */
export const isOver = (state) => state.phase === "ended" || state.phase === "failed";

/** Whether every text stays with its worker, so that no paragraph moves to the history. */
export const textStays = (state) => state.views.every((view) => view.paragraphs_to === null);

/** Number of tokens that the workers chose. */
export const numTokens = (state) => state.workers.reduce((sum, one) => sum + one.numTokens, 0);

function afterEvent(state, event) {
  switch (event.type) {
    case "text":
      return isWorker(state, event.name) ? written(state, event) : stated(state, event);
    case "paragraph_end":
      return paragraphEnded(state, event);
    case "worker_stop":
      return withWorker(state, event.name, (one) => ({ ...one, stopped: event.reason }));
    case "joined":
      if (isWorker(state, event.name)) return state;
      return { ...state, workers: [...state.workers, newWorker(event.name, event.role)] };
    case "interjection": {
      const pieces = longer([], withoutLabel(event.text, event.name), true);
      return withParagraph(state, { name: event.name, index: null, pieces });
    }
    case "refused":
      return { ...state, refusals: [...state.refusals, event.reason] };
    case "answer":
      return answered(state, event);
    case "session_end":
      return { ...state, endReason: event.reason };
    default:
      return state;
  }
}

/** `paragraph` counts finished paragraphs; `pieces` belong to the one being written. */
const newWorker = (name, role) => ({
  name, role, paragraph: 0, pieces: [], numTokens: 0, stopped: null,
});

const isWorker = (state, name) => state.workers.some((one) => one.name === name);

function withWorker(state, name, change) {
  const workers = state.workers.map((one) => (one.name === name ? change(one) : one));
  return { ...state, workers };
}

function written(state, event) {
  const chosen = event.chosen ? event.token_ids.length : 0;
  return withWorker(state, event.name, (one) => ({
    ...one,
    numTokens: one.numTokens + chosen,
    pieces: longer(one.pieces, ownText(one, event), event.chosen),
  }));
}

function stated(state, event) {
  const known = state.statements.find((one) => one.name === event.name);
  const pieces = longer(known?.pieces ?? [], event.text, event.chosen);
  const others = state.statements.filter((one) => one.name !== event.name);
  return { ...state, statements: [...others, { name: event.name, pieces }] };
}

function paragraphEnded(state, event) {
  const { pieces } = state.workers.find((one) => one.name === event.name);
  const moved = withWorker(state, event.name, (one) => ({
    ...one, paragraph: one.paragraph + 1, pieces: [],
  }));
  return withParagraph(moved, { name: event.name, index: event.index, pieces });
}

const withParagraph = (state, paragraph) => ({ ...state, history: [...state.history, paragraph] });

/** The first answer of the team counts; the service sends the final one at the end. */
function answered(state, event) {
  const answers = [...state.answers, { name: event.name, answer: event.answer }];
  const ofTeam = event.of === null && event.budget === null;
  return { ...state, answers, answer: state.answer ?? (ofTeam ? event.answer : null) };
}

/** Pieces with more text, appended to the last piece if both were chosen or both were given. */
function longer(pieces, text, chosen) {
  const added = pieces.length ? text : text.trimStart();
  const last = pieces.at(-1);
  if (!added) return pieces;
  if (last?.chosen !== chosen) return [...pieces, { text: added, chosen }];
  return [...pieces.slice(0, -1), { text: last.text + added, chosen }];
}

/** A worker's text without the label that starts a paragraph, since the page shows the name. */
const ownText = (worker, event) =>
  worker.pieces.length || event.chosen ? event.text : withoutLabel(event.text, event.name);

function withoutLabel(text, name) {
  const bare = text.trimStart();
  for (const label of [`**${name}:**`, `### ${name}\n`]) {
    if (bare.startsWith(label)) return bare.slice(label.length);
  }
  const numbered = `**${name} [`;
  const end = bare.indexOf("]:**");
  return bare.startsWith(numbered) && end > 0 ? bare.slice(end + "]:**".length) : text;
}
