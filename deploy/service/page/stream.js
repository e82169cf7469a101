// A session's events, in order and each once, even if the connection is lost.

import { eventsUrl, session } from "./api.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 15000;

/**
 * Follow a session until it ends.
 *
 * @param {string} id name of the session
 * @param {{message: function(string, object), connected: function(boolean), gone: function(string)}}
 *   listener receives each message with its kind (update, waiting, end), whether the connection is
 *   open, and why the session no longer exists
 */
export function follow(id, listener) {
  let last = null;
  let wait = FIRST_WAIT;

  function connect() {
    const source = new EventSource(eventsUrl(id, last));
    source.onopen = () => {
      wait = FIRST_WAIT;
      listener.connected(true);
    };
    source.onerror = () => {
      listener.connected(false);
      if (source.readyState === EventSource.CLOSED) tryAgain();
    };
    source.addEventListener("update", (event) => {
      const number = Number(event.lastEventId);
      if (last !== null && number <= last) return;
      last = number;
      listener.message("update", JSON.parse(event.data));
    });
    source.addEventListener("waiting", (event) => {
      listener.message("waiting", JSON.parse(event.data));
    });
    source.addEventListener("end", (event) => {
      source.close();
      listener.message("end", JSON.parse(event.data));
    });
  }

  /** Reconnect after a refusal: the session is gone, or the service is restarting. */
  async function tryAgain() {
    try {
      await session(id);
    } catch (error) {
      if (error.status === 404) return listener.gone(error.message);
    }
    setTimeout(connect, wait);
    wait = Math.min(LONGEST_WAIT, wait * 2);
  }

  connect();
}
