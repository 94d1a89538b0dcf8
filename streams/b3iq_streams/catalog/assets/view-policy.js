/** The policy in force, in the units of people, and what each revision changed. */

import { since } from "./ages.js";
import { h, keyed, put } from "./dom.js";
import { count, duration, wei } from "./format.js";
import { mark } from "./marks.js";
import { Refresher } from "./refresher.js";
import { row, table } from "./table.js";
import { runtimeName, spaced, tierName } from "./words.js";

const PAID = { allowed: ["pass", "allowed"], blocked: ["fail", "blocked"], future: ["unknown", "not yet"] };
const TTLS = {
  heartbeat_ttl_ms: ["A heartbeat counts for", "then the node is stale"],
  route_health_ttl_ms: ["A broker's word on a route counts for", "then the route is stale"],
  registration_ttl_ms: ["Registry state counts for", "then the registration is stale"],
  benchmark_ttl_ms: ["An observed benchmark counts for", "then it must be run again"],
};

/** Draws into `root` and keeps it right. */
export function policy(root) {
  let answer = null;
  const trouble = h("div");
  const revision = h("p", { class: "total" });
  const tiers = table(
    "Route tiers",
    [{ name: "Tier" }, { name: "Paid calls" }, { name: "Runtimes that may serve it" }],
    "tiers",
  );
  const limits = h("dl", { class: "limits" });
  const revisions = h("ol", { class: "revisions" });
  put(
    root,
    h("div", { class: "view-head" }, h("h1", null, "Policy"), revision),
    trouble,
    h(
      "div",
      { class: "columns" },
      h(
        "div",
        { class: "stack" },
        h("section", { class: "card" }, h("h2", null, "Tiers"), tiers.element),
        h("section", { class: "card" }, h("h2", null, "What changed between revisions"), revisions),
      ),
      h("section", { class: "card" }, h("h2", null, "Times and limits"), limits),
    ),
  );

  function redraw() {
    if (!answer) return;
    if (answer.revision === null) {
      put(revision, "No policy is known yet, so nothing is eligible.");
      return;
    }
    put(revision, h("strong", null, `Revision ${answer.revision}`), ", published ", since(answer.published_at_ms));
    keyed(tiers.body, tiersInOrder(answer.tiers), ([name]) => name, tierRow);
    put(
      limits,
      limitsOf(answer).map(([name, value, note]) =>
        h(
          "div",
          null,
          h("dt", null, name),
          h("dd", null, h("strong", null, value), note ? h("span", { class: "under" }, note) : null),
        ),
      ),
    );
    keyed(revisions, answer.changes, (change) => String(change.revision), revisionItem);
    if (!answer.changes.length)
      put(revisions, h("li", { class: "quiet" }, "This is the first revision that the catalog has seen."));
  }

  const refresher = new Refresher(
    () => ["v1/public/policy"],
    (fresh) => {
      answer = fresh;
      redraw();
    },
    trouble,
  );
  refresher.now();
  return { title: "Policy", redraw, refresh: () => refresher.soon(), close: () => refresher.stop() };
}

const RANK = { allowed: 0, future: 1, blocked: 2 };

/** What is allowed first. */
const tiersInOrder = (tiers) =>
  Object.entries(tiers).sort(([, one], [, other]) => (RANK[one.paid] ?? 3) - (RANK[other.paid] ?? 3));

function tierRow([name, rule]) {
  const [state, word] = PAID[rule.paid] ?? ["unknown", spaced(rule.paid)];
  return row([
    ["name", tierName(name)],
    ["paid", mark(state, word)],
    [
      "runtimes",
      rule.runtimes.length ? rule.runtimes.map(runtimeName).join(", ") : h("span", { class: "quiet" }, "none"),
    ],
  ]);
}

function limitsOf(answer) {
  const { hold_down: hold } = answer;
  return [
    ...Object.entries(answer.ttls).map(([name, ms]) => [
      TTLS[name]?.[0] ?? spaced(name),
      duration(ms),
      TTLS[name]?.[1],
    ]),
    ["Stake, at least", wei(answer.stake_wei_min), ""],
    ["Queue states that pass", answer.queue_states_passing.join(", ") || "none", "blocked and unhealthy never pass"],
    [
      "Hold-down after flips",
      duration(hold.hold_ms),
      `after ${count(hold.flips_max)} losses of eligibility within ${duration(hold.window_ms)}`,
    ],
    [
      "Decisions are published again within",
      duration(answer.refresh_period_ms),
      "so that a reader can start from there",
    ],
    ["A newer revision is waited for", duration(answer.grace_ms), "then readers stop acting on older decisions"],
  ];
}

function revisionItem(change) {
  const head = h(
    "p",
    { class: "revision-head" },
    h("strong", null, `Revision ${change.revision}`),
    h("span", { class: "quiet" }, since(change.published_at_ms)),
  );
  const first = h("li", { class: "quiet" }, "The first that the catalog knows.");
  return h(
    "li",
    null,
    head,
    h("ul", { class: "revision-changes" }, change.changed.length ? change.changed.map(changedItem) : first),
  );
}

const changedItem = ({ field, from, to }) =>
  h(
    "li",
    null,
    h("span", { class: "revision-field" }, fieldName(field)),
    h("span", { class: "revision-from" }, h("span", { class: "unseen" }, "from "), valueWords(field, from)),
    h("span", { class: "revision-arrow", "aria-hidden": "true" }, "→"),
    h("span", { class: "revision-to" }, h("span", { class: "unseen" }, "to "), valueWords(field, to)),
  );

const FIELDS = {
  heartbeat_ttl_ms: "A heartbeat counts for",
  route_health_ttl_ms: "A broker's word counts for",
  registration_ttl_ms: "Registry state counts for",
  benchmark_ttl_ms: "A benchmark counts for",
  stake_wei_min: "Stake, at least",
  queue_states_passing: "Queue states that pass",
  equivocation_block_ms: "Block after two agents, one identity",
  refresh_period_ms: "Decisions published again within",
  grace_ms: "A newer revision is waited for",
  "hold_down.hold_ms": "Hold-down after flips",
  "hold_down.flips_max": "Flips until hold-down",
  "hold_down.window_ms": "Flips counted within",
};

/** A field's path in words: "tiers.network_beta.runtimes" → "Tiers · Network beta · Runtimes". */
const fieldName = (field) =>
  FIELDS[field] ??
  field
    .split(".")
    .map((part) => spaced(part.replace(/_ms$/, "")))
    .join(" · ");

function valueWords(field, value) {
  if (value === null || value === undefined || value === "") return "none";
  if (/_ms$/.test(field) && /^\d+$/.test(value)) return duration(Number(value));
  if (/wei/.test(field)) return wei(String(value));
  if (Array.isArray(value)) return value.map((one) => runtimeName(one).slice(0, 24)).join(", ") || "none";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
