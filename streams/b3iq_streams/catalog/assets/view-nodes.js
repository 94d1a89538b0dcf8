/** The nodes, to find one's own: how many of its profiles are eligible, and the reasons against the others. */

import { ground } from "./claims.js";
import { h, keyed, put } from "./dom.js";
import { Filters } from "./filters.js";
import { count, plural, sentence } from "./format.js";
import { leaf, leaves } from "./leaves.js";
import { claimedCount, code, mark } from "./marks.js";
import { Pager } from "./pager.js";
import { Refresher } from "./refresher.js";
import { address, remember } from "./router.js";
import { row, table } from "./table.js";

const PAGE = 50;
const REASONS_SHOWN = 3;

/** Draws into `root` and keeps it right. */
export function nodes(root, { query }) {
  let answer = null;
  const trouble = h("div");
  const total = h("p", { class: "total", role: "status" });
  const rows = table(
    "Nodes",
    [{ name: "Node" }, { name: "Eligible profiles", kind: "number" }, { name: "What stands in the way" }],
    "nodes",
  );
  const nothing = h(
    "p",
    { class: "empty", hidden: true },
    "No node matches. A node appears once its first signed fact is in the log.",
  );
  const pager = new Pager("nodes", PAGE, () => {
    scrollTo(0, 0);
    refresher.now();
  });
  const filters = new Filters(
    [],
    query,
    (asked) => {
      remember(["nodes"], asked);
      pager.about(asked);
      refresher.now();
    },
    "Find a node",
  );
  rows.element.hidden = true;
  put(
    root,
    h("div", { class: "view-head" }, h("h1", null, "Nodes"), total),
    filters.element,
    trouble,
    rows.element,
    nothing,
    pager.element,
  );

  const refresher = new Refresher(
    () => ["v1/public/nodes", { ...filters.query, ...pager.query }],
    (fresh) => {
      answer = fresh;
      redraw();
    },
    trouble,
  );

  function redraw() {
    if (!answer) return;
    keyed(rows.body, answer.items, (item) => item.node_id, nodeRow, `${ground.claims.state} ${leaves().length}`);
    total.textContent = plural(answer.total, "node");
    rows.element.hidden = !answer.items.length;
    nothing.hidden = answer.items.length > 0;
    pager.draw(answer);
  }

  pager.about(filters.query);
  refresher.now();
  return {
    title: "Nodes",
    redraw,
    refresh: () => refresher.soon(),
    change: () => refresher.soon(),
    close: () => {
      filters.stop();
      refresher.stop();
    },
  };
}

function nodeRow(item) {
  const hidden = item.codes.length - REASONS_SHOWN;
  return row([
    ["name profile-name", h("a", { href: address(["nodes", item.node_id]), "data-row": true }, item.node_id)],
    [
      "number",
      claimedCount(item.eligible, (n) => h("strong", null, count(n))),
      h("span", { class: "quiet" }, ` of ${count(item.profiles)}`),
      h("span", { class: "quiet only-narrow", "aria-hidden": "true" }, " eligible"),
    ],
    [
      "why",
      item.codes.length
        ? h(
            "ul",
            { class: "why-list" },
            item.codes
              .slice(0, REASONS_SHOWN)
              .map((name) =>
                h("li", null, h("span", { class: "why-words" }, sentence(leaf(name).condition)), " ", code(name)),
              ),
            hidden > 0 ? h("li", { class: "quiet" }, `and ${hidden} more`) : null,
          )
        : mark("pass", ground.claims.state === "open" ? "nothing in the way" : "nothing in the way when last resolved"),
    ],
  ]);
}
