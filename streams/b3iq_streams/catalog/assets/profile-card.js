/** One profile of a node in full: the facts, each gate with each of its checks, and the records behind them. */

import { since } from "./ages.js";
import { ground } from "./claims.js";
import { h } from "./dom.js";
import { count, plural, rate, readable, sentence } from "./format.js";
import { code, mark, shape, stateWord, verdict } from "./marks.js";
import { GATES, runtimeName, tierName } from "./words.js";

/** `leaves` = the table of all checks; `folds` = {open, shut}: which parts the visitor has opened or shut. */
export function profileCard(profile, leaves, folds) {
  return h(
    "section",
    { class: "card profile-card", "aria-label": `Profile ${profile.profile_id}` },
    h(
      "header",
      { class: "profile-head" },
      h(
        "div",
        null,
        h("h2", null, profile.profile_id, h("span", { class: "profile-model" }, profile.model_id)),
        h("p", { class: "under" }, `${tierName(profile.route_tier)} · ${runtimeName(profile.runtime_kind)}`),
      ),
      verdict(profile.eligible),
    ),
    facts(profile),
    h(
      "div",
      { class: "gate-folds" },
      GATES.map((gate) => gateFold(gate, profile, leaves, folds)),
    ),
    evidenceFold(profile, folds),
  );
}

function facts(profile) {
  const rows = [
    ["Throughput", profile.throughput_mtok_per_s ? rate(profile.throughput_mtok_per_s) : "not known"],
    ["Benchmark observed", since(profile.benchmarked_at_ms)],
    ["Evidence runs out", profile.valid_until_ms ? since(profile.valid_until_ms) : "not while blocked"],
    ["Decided", since(profile.decided_at_ms)],
    ["Under policy", `revision ${profile.policy_revision}`],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}

function gateFold(gate, profile, leaves, folds) {
  const blockers = profile.blockers.filter((blocker) => blocker.gate === gate.id);
  const said = profile.gates[gate.id];
  const state = blockers.length && said === "pass" ? "fail" : said; // a grant that expired since the decision
  const rest = leaves.filter(
    (leaf) => leaf.gate === gate.id && !blockers.some((blocker) => blocker.code === leaf.code),
  );
  return fold(
    `${profile.profile_id} ${gate.id}`,
    blockers.length > 0,
    folds,
    "gate-fold",
    [
      mark(state, gate.name),
      h(
        "span",
        { class: "fold-says" },
        blockers.length
          ? `${plural(blockers.length, "check")} of ${blockers.length + rest.length} ${blockers.length > 1 ? "block" : "blocks"}`
          : `${stateWord(state)}: ${gate.asks}`,
      ),
    ],
    blockers.length
      ? h(
          "ul",
          { class: "checks" },
          blockers.map((blocker) => failing(blocker, state, leaves, profile)),
        )
      : null,
    others(
      `${profile.profile_id} ${gate.id} others`,
      blockers.length > 0,
      folds,
      h(
        "ul",
        { class: "checks-passing" },
        rest.map((leaf) =>
          h(
            "li",
            null,
            mark(
              state === "pass" ? "pass" : "none",
              state !== "pass" ? "not raised" : ground.claims.state === "open" ? "passes" : "passed",
            ),
            h("span", null, `not so: ${leaf.condition}`),
            code(leaf.code),
          ),
        ),
      ),
    ),
  );
}

/** The checks that do not block: out of the way where others do. */
function others(name, folded, folds, list) {
  if (!folded || !list.children.length) return list;
  return fold(name, false, folds, "others", [plural(list.children.length, "other check")], list);
}

function failing(blocker, gateState, leaves, profile) {
  const leaf = leaves.find((known) => known.code === blocker.code);
  const state = blocker.state ?? leaf?.state ?? (gateState === "unknown" ? "unknown" : "fail");
  const record = profile.evidence.find((one) => one.topic === leaf?.source);
  const says = [
    ["Observed", readable(blocker.observed) || "being read"],
    ["Required", readable(blocker.required) || "being read"],
    ["Since", since(blocker.since_ms)],
    ...(record ? [["Evidence", h("code", { class: "code" }, place(record))]] : []),
  ];
  return h(
    "li",
    { class: `check is-${state}` },
    h(
      "p",
      { class: "check-words" },
      mark(state, stateWord(state)),
      h("strong", null, sentence(blocker.condition)),
      code(blocker.code),
    ),
    h(
      "dl",
      { class: "check-facts" },
      says.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
    ),
    h("p", { class: "check-next" }, h("span", { class: "check-next-label" }, "Next"), sentence(blocker.next_action)),
  );
}

function evidenceFold(profile, folds) {
  if (!profile.evidence.length)
    return h("p", { class: "quiet fold-none" }, "No record stands behind this: that is why it is blocked.");
  return fold(
    `${profile.profile_id} evidence`,
    false,
    folds,
    "evidence-fold",
    [
      h("span", { class: "mark" }, shape("record"), h("span", null, "Evidence")),
      h("span", { class: "fold-says" }, `${plural(profile.evidence.length, "signed record")}, as of the decision`),
    ],
    h(
      "ul",
      { class: "evidence" },
      profile.evidence.map((record) =>
        h(
          "li",
          null,
          h("strong", null, place(record)),
          h("span", { class: "evidence-hash" }, h("span", { class: "quiet" }, "sha256 "), code(record.sha256)),
          h("span", { class: "evidence-hash" }, h("span", { class: "quiet" }, "signed by "), code(record.keyid)),
        ),
      ),
    ),
  );
}

const place = (record) => `${record.topic} / ${record.partition} @ ${count(record.offset)}`;

function fold(name, openAtFirst, { open, shut }, kind, summary, ...content) {
  const isOpen = open.has(name) || (openAtFirst && !shut.has(name));
  return h("details", { class: `fold ${kind}`, "data-fold": name, open: isOpen }, h("summary", null, summary), content);
}
