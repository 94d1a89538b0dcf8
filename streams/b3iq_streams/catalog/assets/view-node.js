/** One node: what to do next, each profile with every check and its evidence, and what happened before. */

import { since } from "./ages.js";
import { ground } from "./claims.js";
import { h, keyed, put } from "./dom.js";
import { dayAndTime, plural, sentence, timeOfDay } from "./format.js";
import { leaf, leaves } from "./leaves.js";
import { claimedCount, code, mark } from "./marks.js";
import { profileCard } from "./profile-card.js";
import { Refresher } from "./refresher.js";
import { address } from "./router.js";
import { whatWord } from "./words.js";

const WHAT_MARKS = { opened: "pass", closed: "fail", changed: "changed" };

/** Draws into `root` and keeps it right; `parts[0]` = the node. */
export function node(root, { parts: [nodeId], query }) {
  let answer = null;
  const trouble = h("div");
  const summary = h("p", { class: "node-summary" });
  const todo = h("ol", { class: "todo" });
  const todoCard = h("section", { class: "card todo-card", hidden: true }, h("h2", null, "What to do next"), todo);
  const cards = h("div", { class: "profile-cards" });
  const history = h("ol", { class: "history" });
  put(
    root,
    h("p", { class: "crumbs" }, h("a", { href: address(["nodes"]) }, "Nodes")),
    h("div", { class: "view-head" }, h("h1", { class: "node-id" }, nodeId), summary),
    trouble,
    todoCard,
    cards,
    h("section", { class: "card" }, h("h2", null, "What happened"), history),
  );

  const refresher = new Refresher(
    () => [`v1/public/nodes/${encodeURIComponent(nodeId)}/route-readiness`, { model: query.model }],
    (fresh) => {
      answer = fresh;
      redraw();
    },
    trouble,
  );

  function redraw() {
    if (!answer) return;
    const stamp = `${ground.claims.state} ${leaves().length}`;
    const eligible = answer.ready ? answer.profiles.filter((profile) => profile.eligible).length : null;
    put(
      summary,
      answer.known
        ? [
            h("strong", null, claimedCount(eligible, String)),
            ` of ${plural(answer.profiles.length, "profile")} may serve paid calls now`,
          ]
        : mark("fail", "Nothing is known about this node, so it is not ready for paid calls."),
    );
    const steps = nextSteps(answer.profiles);
    todoCard.hidden = !steps.length;
    keyed(todo, steps, (step) => step.action, stepItem, stamp);
    const open = new Set([...cards.querySelectorAll("details[open]")].map((element) => element.dataset.fold));
    const shut = new Set([...cards.querySelectorAll("details:not([open])")].map((element) => element.dataset.fold));
    keyed(
      cards,
      answer.profiles,
      (profile) => profile.profile_id,
      (profile) => profileCard(profile, answer.leaves, { open, shut }),
      stamp,
    );
    keyed(
      history,
      answer.history,
      (past) => `${past.at_ms} ${past.profile_id} ${past.epoch} ${past.what}`,
      pastItem,
      stamp,
    );
    if (!answer.history.length) put(history, h("li", { class: "quiet" }, "Nothing that the catalog still remembers."));
    lookAtAsked();
  }

  /** Once: bring the profile that was asked for into sight. */
  function lookAtAsked() {
    const asked = [...cards.children].find((card) => card.dataset.key === query.profile);
    if (asked && asked !== cards.firstElementChild) asked.scrollIntoView({ block: "start" });
    query.profile = "";
  }

  refresher.now();
  return {
    title: nodeId,
    redraw,
    refresh: () => refresher.soon(),
    change: (told) => told.node_id === nodeId && refresher.soon(),
    close: () => refresher.stop(),
  };
}

/** One step per next action, with the reasons it removes and the profiles it helps. */
function nextSteps(profiles) {
  const steps = new Map();
  for (const profile of profiles) {
    for (const blocker of profile.blockers) {
      const step = steps.get(blocker.next_action) ?? { action: blocker.next_action, conditions: [], profiles: [] };
      if (!step.conditions.includes(blocker.condition)) step.conditions.push(blocker.condition);
      if (!step.profiles.includes(profile.profile_id)) step.profiles.push(profile.profile_id);
      steps.set(blocker.next_action, step);
    }
  }
  return [...steps.values()];
}

const stepItem = (step) =>
  h(
    "li",
    null,
    h("p", { class: "todo-action" }, sentence(step.action)),
    h(
      "p",
      { class: "under" },
      `because ${step.conditions.join("; ")} · ${step.profiles.length > 1 ? "profiles" : "profile"} ${step.profiles.join(", ")}`,
    ),
  );

const pastItem = (past) =>
  h(
    "li",
    null,
    h(
      "time",
      { class: "past-time", datetime: new Date(past.at_ms).toISOString(), title: dayAndTime(past.at_ms) },
      timeOfDay(past.at_ms),
    ),
    mark(WHAT_MARKS[past.what] ?? "unknown", whatWord(past.what)),
    h("span", { class: "past-profile" }, past.profile_id),
    h(
      "span",
      { class: "past-codes" },
      past.codes.map((name) => h("span", null, leaf(name).condition, " ", code(name))),
    ),
    h("span", { class: "quiet past-age" }, since(past.at_ms), ` · epoch ${past.epoch}`),
  );
