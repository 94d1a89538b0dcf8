/** Pages of a list whose catalog only knows "what comes after": keeps the way back. */

import { h, put } from "./dom.js";
import { count } from "./format.js";

const kept = new Map();

/** `name` + the query it belongs to remember where one was, so that "back" from a row returns to its page. */
export class Pager {
  #name;
  #turn;
  #key = "";
  #next = null;
  #size;
  element = h("nav", { class: "pager", "aria-label": "Pages" });

  /** `turn()` is called when another page is wanted. */
  constructor(name, size, turn) {
    this.#name = name;
    this.#size = size;
    this.#turn = turn;
  }

  /** Another question: its own place, the first page unless it was asked before. */
  about(query) {
    this.#key = `${this.#name} ${JSON.stringify(query)}`;
    if (!kept.has(this.#key)) kept.set(this.#key, [""]);
  }

  /** What to ask for. */
  get query() {
    return { limit: this.#size, cursor: kept.get(this.#key).at(-1) };
  }

  /** Draws for an answer; an emptied page that is not the first goes back by itself. */
  draw({ items, next, total }) {
    const way = kept.get(this.#key);
    if (!items.length && way.length > 1) return this.#go(() => way.splice(1));
    this.#next = next;
    const start = (way.length - 1) * this.#size;
    put(
      this.element,
      h(
        "span",
        { class: "pager-range" },
        items.length ? `${count(start + 1)}–${count(start + items.length)} of ${count(total)}` : "",
      ),
      total > this.#size
        ? [
            this.#button("Previous", way.length > 1, () => way.pop()),
            this.#button("Next", Boolean(next), () => way.push(this.#next)),
          ]
        : null,
    );
    return undefined;
  }

  #button(words, possible, move) {
    return h("button", { class: "button", type: "button", disabled: !possible, onclick: () => this.#go(move) }, words);
  }

  #go(move) {
    move();
    this.#turn();
  }
}
