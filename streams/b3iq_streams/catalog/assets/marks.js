/** States as marks: a shape and a word, never a colour alone. */

import { h, s } from "./dom.js";
import { claimed, ground } from "./claims.js";
import { GATES, STATE_WORDS } from "./words.js";

const SHAPES = {
  pass: "M3.5 8.6l3 3 6-7",
  fail: "M4.2 4.2l7.6 7.6M11.8 4.2l-7.6 7.6",
  unknown: "M5.6 6.1a2.4 2.4 0 1 1 3.7 2c-.9.6-1.3 1-1.3 1.9M8 12.6v.2",
  none: "M4.5 8h7",
  changed: "M3 5.6h9.4M10 3.2l2.4 2.4L10 8M13 10.4H3.6M6 8l-2.4 2.4L6 12.8",
  record: "M4.5 2.8h4.7l2.8 2.8v7.6H4.5zM6.8 8h3M6.8 10.4h3",
};

/** A shape alone; whoever shows it also says its word. */
export function shape(state) {
  const path = SHAPES[state] ?? SHAPES.unknown;
  return s(
    "svg",
    { class: "shape", viewBox: "0 0 16 16", width: 14, height: 14, "aria-hidden": "true", focusable: "false" },
    s("path", { d: path }),
  );
}

/** The word for a state; while claims are withheld, what passed is said in the past. */
export const stateWord = (state) =>
  STATE_WORDS[state === "pass" && ground.claims.state !== "open" ? "past" : state] ?? state;

/** Shape and word. */
export const mark = (state, word) => h("span", { class: `mark is-${state}` }, shape(state), h("span", null, word));

/** Shape in sight, word for those who listen. */
export const quietMark = (state, word) =>
  h("span", { class: `mark mark-only is-${state}`, title: word }, shape(state), h("span", { class: "unseen" }, word));

/** "Eligible", "Blocked", or "—" while claims are withheld. */
export function verdict(eligible) {
  const said = claimed(eligible);
  if (said === null || said === undefined) {
    return h(
      "span",
      { class: "verdict is-none", title: "claims withheld" },
      h("span", { "aria-hidden": "true" }, "—"),
      h("span", { class: "unseen" }, "claims withheld"),
    );
  }
  return h(
    "span",
    { class: `verdict is-${said ? "pass" : "fail"}` },
    shape(said ? "pass" : "fail"),
    said ? "Eligible" : "Blocked",
  );
}

/** A number that is a claim: "—" while claims are withheld. */
export function claimedCount(n, write) {
  const said = claimed(n);
  if (said === null || said === undefined)
    return [h("span", { "aria-hidden": "true" }, "—"), h("span", { class: "unseen" }, "claims withheld")];
  return write(said);
}

/** The five gates of a profile in a row, each with its name. */
export function gateRow(gates) {
  return h(
    "ul",
    { class: "gate-row", "aria-label": "Gates" },
    GATES.map((gate) =>
      h(
        "li",
        null,
        quietMark(gates[gate.id], `${gate.name} ${stateWord(gates[gate.id])}`),
        h("span", { class: "gate-row-name", "aria-hidden": "true" }, gate.name),
      ),
    ),
  );
}

/** A code, small, for those who search logs by it. */
export const code = (text) => h("code", { class: "code" }, text);
