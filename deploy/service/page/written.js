// A text that grows; only new text is added to the page.

import { el } from "./dom.js";

/** An element with the text of a worker's paragraph. */
export class Written {
  constructor(element) {
    this.element = element;
    this.paragraph = null;
    this.drawn = [];
  }

  /** Show the pieces of a paragraph: the last one, which has grown, or a new one. */
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

/** Keeps the end of a scrolling element visible, unless the reader has scrolled away from it. */
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

  /** Scroll to the end after the text or the element has changed its size. */
  grown() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
  }
}
