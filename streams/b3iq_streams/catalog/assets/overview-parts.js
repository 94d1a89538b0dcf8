/** What the overview is made of: the great number, the gates, the groups, the reasons, the partitions. */

import { since } from "./ages.js";
import { claimed } from "./claims.js";
import { h, put } from "./dom.js";
import { count, plural, sentence } from "./format.js";
import { leaf } from "./leaves.js";
import { claimedCount, code, mark, shape } from "./marks.js";
import { address } from "./router.js";
import { share, spark } from "./spark.js";
import { row } from "./table.js";
import { GATES, tierName } from "./words.js";

/** How many of how many, or that it cannot be said. */
export function drawHero(hero, eligible, total) {
  const said = claimed(eligible);
  const words =
    said === null
      ? `How many of ${plural(total, "profile")} may serve paid calls cannot be said now`
      : `of ${plural(total, "profile")} may serve paid calls now`;
  const figure = h(
    "span",
    { class: `figure-number${said === null ? " is-withheld" : ""}`, id: "eligible-now" },
    claimedCount(eligible, count),
  );
  const links = [
    ["See the eligible", "true"],
    ["See the blocked", "false"],
  ];
  put(
    hero,
    h("p", { class: "figure" }, figure, " ", h("span", { class: "figure-words" }, words)),
    share(said, total),
    h(
      "p",
      { class: "figure-links" },
      links.map(([text, wanted]) => h("a", { href: address(["profiles"], { eligible: wanted }) }, text)),
    ),
  );
}

/** One gate and how many profiles it blocks. */
export function gateCard(gate) {
  const state = gate.blocked ? "fail" : "pass";
  const words = gate.blocked ? `${count(gate.blocked)} blocked` : "none blocked";
  const to = address(["profiles"], gate.blocked ? { gate: gate.id } : {});
  return h(
    "li",
    null,
    h(
      "a",
      { class: "gate", href: to },
      h("span", { class: "gate-name" }, gate.name),
      h("span", { class: `gate-count is-${state}` }, shape(state), words),
      h("span", { class: "gate-asks" }, gate.asks),
    ),
  );
}

/** One model on one tier: eligible of total, and how it was lately. */
export function groupRow(group, stepMs) {
  const to = address(["profiles"], { model: group.model_id, tier: group.route_tier });
  const figure = claimedCount(group.eligible, (n) => h("strong", null, count(n)));
  return row([
    [
      "name",
      h("a", { href: to, "data-row": true }, group.model_id),
      h("span", { class: "under" }, tierName(group.route_tier)),
    ],
    [
      "number",
      figure,
      h("span", { class: "quiet" }, ` of ${count(group.total)}`),
      h("span", { class: "quiet only-narrow", "aria-hidden": "true" }, " eligible"),
      share(claimed(group.eligible), group.total),
    ],
    ["spark-cell", spark(group.spark, group.total, stepMs)],
  ]);
}

/** One reason and how many profiles it blocks; `most` = the most that any reason blocks. */
export function reasonItem(reason, most) {
  const gate = GATES.find((known) => known.id === reason.gate)?.name ?? reason.gate;
  return h(
    "li",
    { class: "reason" },
    h(
      "a",
      { href: address(["profiles"], { code: reason.code }) },
      h("span", { class: "reason-words" }, sentence(leaf(reason.code).condition)),
      h("span", { class: "reason-count" }, count(reason.profiles), h("span", { class: "unseen" }, " profiles")),
      share(reason.profiles, most, "fail"),
      h("span", { class: "reason-code" }, code(reason.code), h("span", { class: "quiet" }, ` ${gate} gate`)),
    ),
  );
}

/** One partition of the log: how far it has come. */
export function partitionItem(partition) {
  const digest = partition.digest ?? "";
  return h(
    "li",
    null,
    h("span", { class: "partition-name" }, `Partition ${partition.partition}`),
    partition.code ? mark("fail", partition.code) : mark("pass", "in time"),
    h("span", { class: "quiet" }, `epoch ${count(partition.epoch)}`),
    h("code", { class: "code", title: digest }, digest.slice(0, 12)),
    h("span", { class: "quiet" }, "resolved ", since(partition.resolved_at_ms)),
  );
}
