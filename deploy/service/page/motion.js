// A frame that moves from a column to the history together with a paragraph.

import { el } from "./dom.js";

const still = matchMedia("(prefers-reduced-motion: reduce)");

/** Move a frame from one element to another, unless the user prefers reduced motion. */
export function animateMove(from, to) {
  if (still.matches || document.hidden || !from) return;
  const [start, end] = [from.getBoundingClientRect(), to.getBoundingClientRect()];
  const frame = el("div", { class: `flying ${from.className}`, "aria-hidden": "true" });
  document.body.append(frame);
  frame.animate([place(start, 0.6), place(end, 0.25)], { duration: 500, easing: "ease-in-out" })
    .finished.finally(() => frame.remove());
  to.animate([{ opacity: 0 }, { opacity: 1 }], { duration: 700, easing: "ease-in" });
}

const place = (box, opacity) => ({
  left: `${box.left}px`, top: `${box.top}px`, width: `${box.width}px`, height: `${box.height}px`,
  opacity,
});
