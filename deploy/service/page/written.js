// A text that grows: only what is new is added to the page.

import { el } from "./dom.js";

/** The text of a worker's paragraph, in an element. */
export class Written {
  constructor(element) {
    this.element = element;
    this.paragraph = null;
    this.drawn = [];
  }

  /** Show the pieces of a paragraph, which have grown since the last call or are of another one. */
  show(paragraph, pieces) {
    if (paragraph !== this.paragraph) {
      this.paragraph = paragraph;
      this.drawn = [];
      this.element.replaceChildren();
    }
    pieces.slice(Math.max(0, this.drawn.length - 1)).forEach((piece) => this.#grow(piece, pieces));
  }

  #grow(piece, pieces) {
    const index = pieces.indexOf(piece);
    if (index === this.drawn.length) {
      const node = document.createTextNode("");
      this.element.append(piece.chosen ? node : el("span", { class: "given" }, node));
      this.drawn.push(node);
    }
    const node = this.drawn[index];
    if (piece.text.length > node.length) node.appendData(piece.text.slice(node.length));
  }
}

/** Keeps the end of a scrolling element in sight, while the reader has not scrolled away from it. */
export class FollowEnd {
  constructor(scroller) {
    this.scroller = scroller;
    this.following = true;
    scroller.addEventListener("scroll", () => {
      const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
      this.following = below < 32;
    }, { passive: true });
    new ResizeObserver(() => this.grown()).observe(scroller);
  }

  /** The text has grown, or the element has another size. */
  grown() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
