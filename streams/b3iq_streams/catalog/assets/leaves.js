/** What each reason means and what to do about it: the catalog's own table, read once. */

import { get } from "./api.js";
import { spaced } from "./words.js";

let table = new Map();

/** Reads the table; a node that nobody knows has it too. True once it is there. */
export async function loadLeaves() {
  if (table.size) return true;
  const answer = await get("v1/public/nodes/none/route-readiness");
  table = new Map(answer.leaves.map((leaf) => [leaf.code, leaf]));
  return true;
}

/** Every reason there is, in the order of explanation. */
export const leaves = () => [...table.values()];

/** One reason; a code that the table does not have is spelled out. */
export const leaf = (code) =>
  table.get(code) ?? { code, gate: "", group: "", condition: spaced(code).toLowerCase(), next_action: "" };

/** A reason against a profile as far as a change tells it: what was observed is only known after asking. */
export function blockerOf(code, sinceMs) {
  const known = leaf(code);
  return {
    code,
    gate: known.gate,
    since_ms: sinceMs,
    observed: "",
    required: "",
    next_action: known.next_action,
    condition: known.condition,
  };
}
