/**
 * The stream of changes: connects, resumes after what it has seen, tries again with growing pauses, and asks for the bare
 * status where streams are refused. Says what happens through `on`; what may be claimed is judged in claims.js.
 *
 * Links: connecting (never heard yet) · open · again (just lost, first new try under way) · polling · lost.
 */

import { get } from "./api.js";
import { adopt } from "./clock.js";

const HELLO_MS = 6_000; // a new stream must speak within this time
const SILENCE_MS = 25_000; // and never be silent for longer
const POLL_MS = 1_500;
const PAUSE_MS = 500;
const PAUSE_MAX_MS = 15_000;

export class Live {
  link = { state: "connecting", retryAt: 0 };
  #on;
  #source = null;
  #position = null;
  #tries = 0;
  #watchdog = 0;
  #retry = 0;
  #poll = 0;

  /** `on` = {link(), status(status), change(change), gap(why), joined(resumed)}. */
  constructor(on) {
    this.#on = on;
  }

  start() {
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.#hurry());
    addEventListener("pagehide", () => this.#close());
    addEventListener("pageshow", (event) => event.persisted && this.#connect());
    this.#connect();
  }

  #connect() {
    this.#close();
    const since = this.#position ? `?since=${encodeURIComponent(this.#position)}` : "";
    const source = new EventSource(new URL(`v1/public/changes${since}`, document.baseURI));
    this.#source = source;
    this.#expect(HELLO_MS);
    const heard = (name, act) =>
      source.addEventListener(name, (event) => {
        if (source !== this.#source) return;
        if (event.lastEventId) this.#position = event.lastEventId;
        act(event.data ? JSON.parse(event.data) : null);
      });
    heard("status", (status) => this.#heardStatus(status, Boolean(since)));
    heard("change", (change) => this.#on.change(change));
    heard("reset", () => this.#on.gap("reset"));
    heard("lagged", () => this.#on.gap("lagged"));
    source.addEventListener("error", () => source === this.#source && this.#failed());
  }

  #heardStatus(status, resumed) {
    adopt(status.now_ms);
    this.#expect(SILENCE_MS);
    this.#on.status(status);
    if (this.link.state === "open") return;
    clearTimeout(this.#poll);
    this.#tries = 0;
    this.#become("open");
    this.#on.joined(resumed);
  }

  /** The first try after a loss comes at once and unannounced; the next ones say so and wait longer each time. */
  #failed() {
    const first = this.link.state === "open";
    this.#close();
    if (first) {
      this.#become("again");
      this.#retry = setTimeout(() => this.#connect(), 100);
      return;
    }
    const pause = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** this.#tries++) * (0.75 + Math.random() / 2);
    this.#retry = setTimeout(() => this.#connect(), pause);
    this.link.retryAt = performance.now() + pause;
    this.#askStatus();
  }

  async #askStatus() {
    clearTimeout(this.#poll);
    try {
      const status = await get("v1/public/status");
      if (this.link.state === "open") return;
      adopt(status.now_ms);
      this.#on.status(status);
      this.#become("polling");
      if (this.#tries > 1) this.#position = null; // it answers, but not from there: begin anew
      this.#on.gap("polled");
      this.#poll = setTimeout(() => this.#askStatus(), POLL_MS);
    } catch {
      if (this.link.state !== "open") this.#become("lost");
    }
  }

  #become(state) {
    this.link = { ...this.link, state };
    this.#on.link();
  }

  #expect(withinMs) {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#failed(), withinMs);
  }

  #hurry() {
    if (this.link.state !== "lost" && this.link.state !== "polling") return;
    this.#tries = 0;
    this.#connect();
  }

  #close() {
    clearTimeout(this.#watchdog);
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }
}
