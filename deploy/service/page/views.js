// Views: one row of blocks for each worker.

import { el, svg } from "./dom.js";
import { letters, look } from "./look.js";
import { textStays } from "./state.js";

const ROW = 30;
const HEIGHT = 22;
const GAP = 4;
const NAMES = 104;
const CHARACTER = 7;

/** Draw the views into an element. */
export function showViews(root, state) {
  const places = new Map(state.workers.map(({ name }, place) => [name, place]));
  const common = textStays(state) ? "problem" : "problem + history";
  const views = state.views.map(({ worker, sees }) => ({
    worker,
    blocks: sees.map((item) => described(item, common, places)),
  }));
  const rows = views.map(drawnRow);
  const width = Math.max(0, ...rows.map((row) => row.width));
  const picture = svg("svg", {
    width, height: rows.length * ROW, viewBox: `0 0 ${width} ${rows.length * ROW}`,
    "aria-hidden": "true",
  }, ...rows.map((row) => row.group));
  const list = el("ul", { class: "hidden" }, ...views.map(({ worker, blocks }) =>
    el("li", {}, `${worker} reads: ${blocks.map((block) => block.words).join(", ")}.`)));
  root.replaceChildren(picture, list);
}

/** The label, description and CSS classes of a block. */
function described({ block, kind, worker }, common, places) {
  if (kind === "shared") {
    const name = block === "common" ? common : block.replace(/^brief\d+$/, "brief");
    return { label: name, words: name, classes: "shared" };
  }
  const classes = look(places.get(worker) ?? -1);
  if (kind === "worker") return { label: letters(worker), words: `${worker}’s text`, classes };
  return {
    label: `${letters(worker)} ✎`, words: "its own text, which it writes", classes: `${classes} own`,
  };
}

function drawnRow({ worker, blocks }, row) {
  const y = row * ROW + (ROW - HEIGHT) / 2;
  const name = svg("text", { x: NAMES - 10, y: y + HEIGHT / 2, class: "reader" }, short(worker));
  const group = svg("g", {}, name);
  let x = NAMES;
  for (const { label, words, classes } of blocks) {
    const width = Math.max(28, label.length * CHARACTER + 14);
    group.append(svg("g", { class: `block ${classes}` },
      svg("title", {}, words),
      svg("rect", { x, y, width, height: HEIGHT, rx: 4 }),
      svg("text", { x: x + width / 2, y: y + HEIGHT / 2 }, label)));
    x += width + GAP;
  }
  return { group, width: x };
}

const short = (name) => (name.length > 13 ? `${name.slice(0, 12)}…` : name);
