// The service's HTTP interface.

import { askForKey, key } from "./key.js";

const NEEDED = "The service needs a key to start or change a session.";
const REFUSED = "The service does not accept this key; try another one.";

/** An error of the service; its message is one sentence. */
export class ApiError extends Error {
  constructor(message, status = 0, param = null) {
    super(message);
    this.status = status;
    this.param = param;
  }
}

/** Fetch the model, teams, limits and defaults. */
export const info = () => call("GET", "/v1/info");

/** Start a session. */
export const start = (request) => call("POST", "/v1/sessions", request);

/** Fetch a session in its present state. */
export const session = (id) => call("GET", path(id));

/** Say something to the team. */
export const say = (id, text) => call("POST", `${path(id)}/messages`, { text, speaker: "You" });

/** Add a worker. */
export const join = (id, name, role) => call("POST", `${path(id)}/workers`, { name, role });

/** Remove a worker. */
export const leave = (id, name) =>
  call("DELETE", `${path(id)}/workers/${encodeURIComponent(name)}`);

/** End a session. */
export const cancel = (id) => call("POST", `${path(id)}/cancel`);

/** Delete a session with all its text. */
export const remove = (id) => call("DELETE", path(id));

/** Fetch the trace of a session that has ended. */
export const trace = (id) => call("GET", `${path(id)}/trace`);

/** The URL of a session's events. */
export const eventsUrl = (id, after) =>
  `${path(id)}/events${after === null ? "" : `?after=${after}`}`;

const path = (id) => `/v1/sessions/${encodeURIComponent(id)}`;

async function call(method, url, body) {
  const response = await send(method, url, body);
  const answer = await response.json().catch(() => null);
  if (response.ok) return answer;
  if (response.status === 401) {
    const why = key() ? REFUSED : NEEDED;
    if (await askForKey(why)) return call(method, url, body);
    throw new ApiError(why, response.status);
  }
  const { message, param } = answer?.error ?? {};
  const sentence = message ?? `The service answered with an error (${response.status}).`;
  throw new ApiError(sentence, response.status, param ?? null);
}

async function send(method, url, body) {
  const headers = {};
  if (key()) headers.Authorization = `Bearer ${key()}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  try {
    return await fetch(url, { method, headers, body: JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new ApiError("The service cannot be reached; check the connection and try again.");
  }
}
