/** What opens, closes and changes, as it happens; can be paused to read. */

import { h, put } from "./dom.js";
import { count, dayAndTime, timeOfDay } from "./format.js";
import { heard, listen } from "./feed.js";
import { leaf } from "./leaves.js";
import { code, gateRow, mark } from "./marks.js";
import { nodeAddress } from "./router.js";
import { tierName, whatWord } from "./words.js";

const SHOWN = 200;
const WHAT_MARKS = { opened: "pass", closed: "fail", changed: "changed" };
const MISSED = {
  reset: "Some changes were missed here: the catalog no longer had them.",
  lagged: "Some changes may be missing here: this page was too slow.",
  polled: "Changes are not told one by one at the moment: the stream is not to be had.",
  joined: "Some changes may be missing here: the connection was lost before the first one.",
};

/** Draws into `root` and keeps it right. */
export function changes(root) {
  let paused = false;
  let waiting = 0;
  const list = h("ol", { class: "feed", "aria-label": "Changes, newest first" });
  const empty = h(
    "p",
    { class: "empty" },
    "Nothing has changed since this page was opened. It will appear here by itself.",
  );
  const pause = h("button", {
    class: "button",
    type: "button",
    "data-pause": true,
    "aria-pressed": "false",
    onclick: toggle,
  });
  const held = h("span", { class: "quiet", role: "status" });
  put(
    root,
    h(
      "div",
      { class: "view-head" },
      h("h1", null, "Changes"),
      h("p", { class: "total" }, "as they happen, newest first"),
    ),
    h("div", { class: "feed-tools" }, pause, held),
    empty,
    list,
  );

  function toggle() {
    paused = !paused;
    waiting = 0;
    if (!paused) redraw();
    describe();
  }

  function describe() {
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    held.textContent = paused ? (waiting ? `Paused · ${count(waiting)} waiting` : "Paused") : "";
  }

  function redraw() {
    if (paused) return;
    put(list, heard().slice(0, SHOWN).map(item));
    empty.hidden = heard().length > 0;
  }

  const end = listen((one) => {
    if (paused) {
      waiting += 1;
      return describe();
    }
    const element = item(one);
    element.classList.add("changed");
    list.prepend(element);
    if (list.children.length > SHOWN) list.lastElementChild.remove();
    empty.hidden = true;
    return undefined;
  });
  redraw();
  describe();
  return { title: "Changes", redraw, refresh: () => null, close: end };
}

function item({ change, missed }) {
  if (missed) return h("li", { class: "feed-gap" }, MISSED[missed] ?? MISSED.reset);
  return h(
    "li",
    { class: "feed-item" },
    h(
      "time",
      { class: "feed-time", datetime: new Date(change.at_ms).toISOString(), title: dayAndTime(change.at_ms) },
      timeOfDay(change.at_ms),
    ),
    h("span", { class: "feed-what" }, mark(WHAT_MARKS[change.what] ?? "unknown", whatWord(change.what))),
    h(
      "span",
      { class: "feed-who" },
      h(
        "a",
        { href: nodeAddress(change.node_id, change.profile_id), "data-row": true },
        change.node_id,
        h("span", { class: "quiet" }, ` / ${change.profile_id}`),
      ),
      h("span", { class: "under" }, `${change.model_id} · ${tierName(change.route_tier)}`),
    ),
    h(
      "span",
      { class: "feed-why" },
      change.codes.length
        ? change.codes.map((name) => h("span", { class: "feed-reason" }, leaf(name).condition, " ", code(name)))
        : h("span", { class: "quiet" }, "every gate passes"),
    ),
    h("span", { class: "feed-gates" }, gateRow(change.gates)),
  );
}
