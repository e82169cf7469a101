// The form that starts a session.

import { start } from "./api.js";
import { byId, el, showText } from "./dom.js";

const EXAMPLES = [
  "Compare going by train and by plane for a trip of 500 km: time, cost and comfort.",
  "A shop sells 3 pens for 2 euros and a book for 12 euros. What do 9 pens and 2 books cost?",
  "Why are trees important for people, and why for animals?",
];

/** Fill and connect the form; `started` is called with the new session. */
export function prepareStart(info, started) {
  const form = byId("start-form");
  fill(info);
  byId("team").onchange = () => showTeam(info);
  byId("problem").onkeydown = (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  };
  form.oninput = ({ target }) => {
    if (target.getAttribute("aria-invalid")) mark(form, null, "");
  };
  form.onsubmit = async (event) => {
    event.preventDefault();
    await submit(form, started);
  };
}

function fill(info) {
  byId("problem").maxLength = info.max_problem_chars;
  byId("team").append(...info.teams.map(({ name }) => option(name, name)));
  byId("team").value = info.defaults.team;
  byId("layout").append(option("", "the team’s own"),
    ...info.layouts.map((name) => option(name, name)));
  byId("max_tokens").value = info.defaults.max_tokens;
  byId("temperature").value = info.defaults.temperature;
  document.querySelector(".examples").append(...EXAMPLES.map(example));
  showTeam(info);
}

const option = (value, text) => el("option", { value }, text);

function example(problem) {
  const button = el("button", { type: "button", class: "example" }, problem);
  button.onclick = () => {
    byId("problem").value = problem;
    byId("problem").focus();
  };
  return button;
}

function showTeam(info) {
  const team = info.teams.find(({ name }) => name === byId("team").value);
  const workers = byId("workers");
  workers.min = Math.max(1, team.workers.length);
  workers.max = team.fixed ? team.size : info.max_workers;
  workers.readOnly = team.fixed;
  workers.value = team.size;
  const roles = team.workers.length ? ` Roles: ${team.workers.join(", ")}.` : "";
  byId("team-about").textContent = team.about + roles;
}

async function submit(form, started) {
  const button = byId("start-button");
  if (button.disabled) return;
  mark(form, null, "");
  const odd = [...form.elements].find((field) => field.validity?.badInput);
  if (odd) return mark(form, odd.name, `${odd.labels[0].textContent} must be a number.`);
  button.disabled = true;
  try {
    started(await start(request(form)));
  } catch (error) {
    mark(form, error.param, error.message);
  } finally {
    button.disabled = false;
  }
}

function request(form) {
  const { problem, team, layout, trace } = form.elements;
  return {
    problem: problem.value,
    team: team.value,
    layout: layout.value || null,
    trace: trace.checked,
    ...Object.fromEntries(["workers", "max_tokens", "temperature", "seed"]
      .map((name) => [name, form.elements[name].value])
      .filter(([, value]) => value !== "")
      .map(([name, value]) => [name, Number(value)])),
  };
}

/** Show an error and mark its field. */
function mark(form, name, sentence) {
  showText(byId("start-error"), sentence);
  for (const field of form.elements) field.removeAttribute("aria-invalid");
  const field = name && form.elements.namedItem(name);
  if (!(field instanceof HTMLElement)) return;
  field.setAttribute("aria-invalid", "true");
  if (byId("more").contains(field)) byId("more").open = true;
  field.focus();
}
