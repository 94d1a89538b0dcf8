/** One profile as a row: verdict, who, what, the five gates, and why not, in words. */

import { since } from "./ages.js";
import { h } from "./dom.js";
import { rate, sentence } from "./format.js";
import { code, quietMark, stateWord, verdict } from "./marks.js";
import { nodeAddress } from "./router.js";
import { row } from "./table.js";
import { GATES, runtimeName, tierName } from "./words.js";

const REASONS_SHOWN = 2;

export const COLUMNS = [
  { name: "State" },
  { name: "Node / profile" },
  { name: "Model" },
  ...GATES.map((gate) => ({ name: gate.name, kind: "gate-cell" })),
  { name: "What stands in the way, and what to do" },
];

/** What of a profile is news to who reads its row; a renewed benchmark is none. */
export const profileNews = ({ eligible, gates, blockers }) =>
  JSON.stringify([eligible, gates, blockers.map((blocker) => blocker.code)]);

export const profileKey = (profile) => `${profile.node_id}/${profile.profile_id}`;

/** The row of a profile of the contract. */
export function profileRow(profile) {
  const to = nodeAddress(profile.node_id, profile.profile_id);
  return row([
    ["verdict-cell", verdict(profile.eligible)],
    [
      "name profile-name",
      h(
        "a",
        { href: to, "data-row": true },
        profile.node_id,
        h("span", { class: "quiet" }, ` / ${profile.profile_id}`),
      ),
    ],
    [
      "model",
      h("span", { class: "model-id" }, profile.model_id),
      h("span", { class: "under" }, `${tierName(profile.route_tier)} · ${runtimeName(profile.runtime_kind)}`),
    ],
    ...GATES.map((gate) => [
      "gate-cell",
      quietMark(profile.gates[gate.id], `${gate.name}: ${stateWord(profile.gates[gate.id])}`),
      h("span", { class: "gate-short", "aria-hidden": "true" }, gate.name),
    ]),
    [
      "why",
      profile.blockers.length
        ? why(profile, to)
        : h(
            "span",
            { class: "quiet" },
            `${rate(profile.throughput_mtok_per_s)} · benchmarked `,
            since(profile.benchmarked_at_ms),
          ),
    ],
  ]);
}

function why(profile, to) {
  const hidden = profile.blockers.length - REASONS_SHOWN;
  return h(
    "ul",
    { class: "why-list" },
    profile.blockers
      .slice(0, REASONS_SHOWN)
      .map((blocker) =>
        h(
          "li",
          null,
          h("span", { class: "why-words" }, sentence(blocker.condition)),
          blocker.next_action ? h("span", { class: "under why-next" }, sentence(blocker.next_action)) : null,
          h("span", { class: "under" }, code(blocker.code), " since ", since(blocker.since_ms)),
        ),
      ),
    hidden > 0 ? h("li", null, h("a", { class: "more", href: to }, `and ${hidden} more`)) : null,
  );
}
