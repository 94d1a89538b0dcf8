/** The fleet at a glance: how much is eligible, which gates block, which reasons weigh most, by model and tier. */

import { ground } from "./claims.js";
import { h, keyed, put } from "./dom.js";
import { leaves } from "./leaves.js";
import { drawHero, gateCard, groupRow, partitionItem, reasonItem } from "./overview-parts.js";
import { Refresher } from "./refresher.js";
import { table } from "./table.js";
import { GATES } from "./words.js";

const REASONS_SHOWN = 8;
const STANDING_MS = 2_000;
const COLUMNS = [
  { name: "Model and tier" },
  { name: "Eligible now", kind: "number" },
  { name: "Lately", kind: "spark-cell" },
];

/** Draws into `root` and keeps it right. */
export function overview(root) {
  let answer = null;
  let allReasons = false;
  const parts = frame(root, () => {
    allReasons = true;
    redraw();
  });

  function redraw() {
    if (!answer) return;
    const stamp = ground.claims.state;
    const total = answer.groups.reduce((sum, group) => sum + group.total, 0);
    const eligible = answer.ready ? answer.groups.reduce((sum, group) => sum + group.eligible, 0) : null;
    drawHero(parts.hero, eligible, total);
    keyed(
      parts.gates,
      GATES.map((gate) => ({ ...gate, ...answer.gates[gate.id] })),
      (gate) => gate.id,
      gateCard,
      stamp,
    );
    keyed(
      parts.groups,
      answer.groups,
      (group) => `${group.model_id} ${group.route_tier}`,
      (group) => groupRow(group, answer.spark_step_ms),
      stamp,
    );
    drawReasons(stamp);
  }

  function drawReasons(stamp) {
    const shown = allReasons ? answer.blockers : answer.blockers.slice(0, REASONS_SHOWN);
    const most = Math.max(1, ...answer.blockers.map((blocker) => blocker.profiles));
    keyed(
      parts.reasons,
      shown,
      (blocker) => blocker.code,
      (blocker) => reasonItem(blocker, most),
      `${stamp} ${most} ${leaves().length}`,
    );
    if (!answer.blockers.length) put(parts.reasons, h("li", { class: "quiet" }, "Nothing: no profile is blocked."));
    parts.more.hidden = shown.length === answer.blockers.length;
    parts.more.textContent = `Show all ${answer.blockers.length} reasons`;
  }

  function drawPartitions(status) {
    keyed(parts.partitions, status.partitions, (partition) => String(partition.partition), partitionItem);
    for (const item of parts.partitions.children) item.classList.remove("changed"); // they always change
  }

  const refresher = new Refresher(
    () => ["v1/public/overview"],
    (fresh) => {
      answer = fresh;
      redraw();
    },
    parts.trouble,
  );
  const standing = new Refresher(() => ["v1/public/status"], drawPartitions, h("div"), STANDING_MS / 2);
  const timer = setInterval(() => standing.soon(), STANDING_MS);
  refresher.now();
  standing.now();
  return {
    title: "Overview",
    redraw,
    refresh: () => refresher.soon(),
    change: () => refresher.soon(),
    close: () => {
      clearInterval(timer);
      refresher.stop();
      standing.stop();
    },
  };
}

function frame(root, showAll) {
  const groups = table("Eligible profiles by model and tier", COLUMNS, "groups");
  const parts = {
    trouble: h("div"),
    hero: h("div", { class: "hero-figure" }),
    gates: h("ol", { class: "gates" }),
    groups: groups.body,
    reasons: h("ol", { class: "reasons" }),
    partitions: h("ul", { class: "partitions" }),
    more: h("button", { class: "link-button", type: "button", hidden: true, onclick: showAll }),
  };
  const gates = h(
    "div",
    { class: "hero-gates" },
    h("h2", { class: "over" }, "Five gates, all of which must pass"),
    parts.gates,
  );
  const standing = h(
    "section",
    { class: "card standing" },
    h("h2", null, "What this page stands on"),
    h(
      "p",
      { class: "under" },
      "The newest accepted decisions of each partition of the log. The least fresh one counts.",
    ),
    parts.partitions,
  );
  put(
    root,
    h("h1", { class: "unseen" }, "Fleet overview"),
    parts.trouble,
    h("section", { class: "hero", "aria-label": "Eligible now" }, parts.hero, gates),
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "stack" },
        h("section", { class: "card" }, h("h2", null, "By model and tier"), groups.element),
        standing,
      ),
      h("section", { class: "card" }, h("h2", null, "What stands in the way"), parts.reasons, parts.more),
    ),
  );
  return parts;
}
