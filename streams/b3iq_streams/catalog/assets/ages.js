/** Times that grow older as one looks at them. */

import { h, say } from "./dom.js";
import { now } from "./clock.js";
import { ago, dayAndTime } from "./format.js";

/** "14 s ago", kept right; the exact time is in its title. */
export function since(atMs) {
  if (!atMs) return h("span", { class: "quiet" }, "not known");
  return h(
    "time",
    { class: "ago", datetime: new Date(atMs).toISOString(), "data-at": atMs, title: dayAndTime(atMs) },
    ago(now() - atMs),
  );
}

/** Brings every time on the page up to date. */
export function age() {
  for (const element of document.querySelectorAll("time[data-at]"))
    say(element, ago(now() - Number(element.dataset.at)));
}
