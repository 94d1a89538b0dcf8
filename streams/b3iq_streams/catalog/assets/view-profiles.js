/** Every profile against the five gates, narrowed by what one asks for, a page at a time, each row kept right in place. */

import { get } from "./api.js";
import { ground } from "./claims.js";
import { h, keyed, put } from "./dom.js";
import { Filters } from "./filters.js";
import { plural } from "./format.js";
import { blockerOf, leaves } from "./leaves.js";
import { Pager } from "./pager.js";
import { COLUMNS, profileKey, profileNews, profileRow } from "./profile-row.js";
import { Refresher } from "./refresher.js";
import { remember } from "./router.js";
import { table } from "./table.js";
import { GATES, tierName } from "./words.js";

const PAGE = 50;

/** Draws into `root` and keeps it right. */
export function profiles(root, { query }) {
  let answer = null;
  const trouble = h("div");
  const total = h("p", { class: "total", role: "status" });
  const rows = table("Profiles and their gates", COLUMNS, "profiles");
  const nothing = h("p", { class: "empty", hidden: true });
  const pager = new Pager("profiles", PAGE, () => {
    scrollTo(0, 0);
    refresher.now();
  });
  const filters = new Filters(fields(), query, ask, "Find a node, profile or model");
  rows.element.hidden = true;
  put(
    root,
    h("div", { class: "view-head" }, h("h1", null, "Profiles"), total),
    filters.element,
    trouble,
    rows.element,
    nothing,
    pager.element,
  );

  const refresher = new Refresher(
    () => ["v1/public/profiles", { ...filters.query, ...pager.query }],
    (fresh) => {
      answer = fresh;
      redraw();
    },
    trouble,
  );

  function ask(asked) {
    remember(["profiles"], asked);
    pager.about(asked);
    refresher.now();
  }

  function redraw() {
    filters.offer("code", reasons());
    if (!answer) return;
    keyed(rows.body, answer.items, profileKey, profileRow, `${ground.claims.state} ${leaves().length}`, profileNews);
    total.textContent = plural(answer.total, "profile");
    rows.element.hidden = !answer.items.length;
    nothing.hidden = answer.items.length > 0;
    nothing.textContent =
      filters.query.eligible && !answer.ready
        ? "Which profiles are eligible cannot be said at the moment."
        : "No profile matches. Clear the filter to see all.";
    pager.draw(answer);
  }

  /** What a change says is shown at once; observed values and the page's bounds follow with the next answer. */
  function change(told) {
    const place =
      answer?.items.findIndex((item) => item.node_id === told.node_id && item.profile_id === told.profile_id) ?? -1;
    if (place >= 0) {
      answer.items[place] = patched(answer.items[place], told);
      redraw();
    }
    refresher.soon();
  }

  async function offerGroups() {
    const { groups } = await get("v1/public/overview");
    const words = (key, name) =>
      [...new Set(groups.map((group) => group[key]))].sort().map((value) => [value, name(value)]);
    filters.offer("model", words("model_id", String));
    filters.offer("tier", words("route_tier", tierName));
  }

  pager.about(filters.query);
  refresher.now();
  offerGroups().catch(() => null); // the text field finds models too
  return {
    title: "Profiles",
    redraw,
    refresh: () => refresher.soon(),
    change,
    close: () => {
      filters.stop();
      refresher.stop();
    },
  };
}

function fields() {
  return [
    { name: "model", label: "Model", any: "Any model", options: [] },
    { name: "tier", label: "Tier", any: "Any tier", options: [] },
    {
      name: "gate",
      label: "Blocked at",
      any: "Any gate",
      options: GATES.map((gate) => [gate.id, `${gate.name} gate`]),
    },
    { name: "code", label: "Reason", any: "Any reason", options: [] },
    {
      name: "eligible",
      label: "State",
      any: "Any state",
      options: [
        ["true", "Eligible"],
        ["false", "Blocked"],
      ],
    },
  ];
}

const reasons = () =>
  GATES.map((gate) => ({
    group: gate.name,
    options: leaves()
      .filter((known) => known.gate === gate.id)
      .map((known) => [known.code, known.condition]),
  }));

function patched(profile, told) {
  const before = new Map(profile.blockers.map((blocker) => [blocker.code, blocker]));
  return {
    ...profile,
    eligible: told.eligible,
    gates: told.gates,
    model_id: told.model_id,
    route_tier: told.route_tier,
    decided_at_ms: told.at_ms,
    blockers: told.codes.map((name) => before.get(name) ?? blockerOf(name, told.at_ms)),
  };
}
