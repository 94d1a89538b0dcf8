/** Puts the page together: one view at a time over one live stream. */

import { age } from "./ages.js";
import { ground, rejudge } from "./claims.js";
import { put } from "./dom.js";
import * as feed from "./feed.js";
import { announce, drawHeader } from "./header.js";
import { keyboard } from "./keys.js";
import { loadLeaves } from "./leaves.js";
import { Live } from "./live.js";
import { route } from "./router.js";
import { themed } from "./theme.js";
import { changes } from "./view-changes.js";
import { node } from "./view-node.js";
import { nodes } from "./view-nodes.js";
import { overview } from "./view-overview.js";
import { policy } from "./view-policy.js";
import { profiles } from "./view-profiles.js";

const VIEWS = {
  overview,
  profiles,
  changes,
  policy,
  nodes: (root, asked) => (asked.parts[0] ? node : nodes)(root, asked),
};
const TICK_MS = 200;

const main = document.getElementById("main");
/** The view on show: {title, redraw(), refresh(), change?(change), close()}. */
let view = null;

function show(first) {
  const asked = route();
  const name = asked.view in VIEWS ? asked.view : "overview";
  view?.close();
  put(main);
  main.className = `view view-${name}`;
  view = VIEWS[name](main, asked);
  document.title = `${view.title} · b3iq catalog`;
  for (const link of document.querySelectorAll(".nav a")) {
    if (link.dataset.view === name) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (first) return;
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
}

function judgeAnew() {
  if (rejudge()) {
    announce();
    view.redraw();
    if (ground.claims.state === "open") view.refresh();
  }
  drawHeader();
}

const live = new Live({
  link: () => {
    ground.link = live.link;
    judgeAnew();
  },
  status: (status) => {
    const before = ground.status;
    ground.status = { ...before, ...status };
    judgeAnew();
    if (
      before &&
      (before.eligible !== status.eligible ||
        before.profiles !== status.profiles ||
        before.policy_revision !== status.policy_revision)
    )
      view.refresh();
  },
  change: (change) => {
    feed.add(change);
    view.change?.(change);
  },
  gap: (why) => {
    feed.missed(why);
    view.refresh();
  },
  joined: (resumed) => {
    if (!resumed) feed.missed("joined");
    view.refresh();
    readLeaves();
  },
});

/** The words for the reasons; until they are there, codes are spelled out. */
async function readLeaves() {
  try {
    await loadLeaves();
    view.redraw();
  } catch {
    // asked again when the stream is joined
  }
}

themed(document.getElementById("theme"));
keyboard();
addEventListener("hashchange", () => show(false));
show(true);
readLeaves();
live.start();
setInterval(judgeAnew, TICK_MS);
setInterval(age, 1000);
drawHeader();
