/** Keeps one answer of the catalog fresh: many wishes become one request, and none is asked twice at a time. */

import { get, givenUp } from "./api.js";
import { h, put } from "./dom.js";

const GAP_MS = 800;
const AGAIN_MS = 3_000;

export class Refresher {
  #ask;
  #draw;
  #trouble;
  #gapMs;
  #timer = 0;
  #flight = null;
  #askedAt = -Infinity;
  #wanted = false;
  #over = false;

  /** `ask()` → [path, query]; `draw(answer)`; `trouble` = where a failure is told. */
  constructor(ask, draw, trouble, gapMs = GAP_MS) {
    this.#ask = ask;
    this.#draw = draw;
    this.#trouble = trouble;
    this.#gapMs = gapMs;
    put(trouble, h("p", { class: "reading" }, "Reading…"));
  }

  /** The answer may have changed: ask again soon, at most once per gap. */
  soon() {
    if (this.#over) return;
    if (this.#flight) {
      this.#wanted = true;
      return;
    }
    const wait = this.#askedAt + this.#gapMs - performance.now();
    clearTimeout(this.#timer);
    if (wait <= 0) this.#go();
    else this.#timer = setTimeout(() => this.#go(), wait);
  }

  /** The question itself changed: drop what is under way and ask now. */
  now() {
    if (this.#over) return;
    clearTimeout(this.#timer);
    this.#flight?.abort();
    this.#go();
  }

  stop() {
    this.#over = true;
    clearTimeout(this.#timer);
    this.#flight?.abort();
  }

  async #go() {
    const flight = new AbortController();
    this.#flight = flight;
    this.#wanted = false;
    this.#askedAt = performance.now();
    let answer = null;
    try {
      answer = await get(...this.#ask(), flight.signal);
    } catch (error) {
      if (givenUp(error) || flight !== this.#flight || this.#over) return;
      put(this.#trouble, h("p", { class: "note is-fail" }, `${error.message} Trying again.`));
      this.#timer = setTimeout(() => this.#go(), AGAIN_MS);
    }
    if (flight !== this.#flight || this.#over) return;
    this.#flight = null;
    if (this.#wanted) this.soon();
    if (!answer) return;
    put(this.#trouble);
    this.#draw(answer);
  }
}
