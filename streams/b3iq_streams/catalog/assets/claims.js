/** Decides whether the page may say of anything that it is eligible. When in doubt it may not. */

import { now } from "./clock.js";
import { withheldReason } from "./words.js";

/** What the page stands on; written by app.js alone. */
export const ground = {
  link: { state: "connecting", retryAt: 0 },
  status: null,
  claims: { state: "pending", why: "" },
};

/** {state: "open" | "pending" | "withheld", why}: a fresh status over a living link opens, everything else does not. */
export function judge(link, status, nowMs) {
  if (link.state === "lost") return withheld("The connection to the catalog is lost.");
  if (!status) return { state: "pending", why: "" };
  if (!status.ready) return withheld(withheldReason(status.code));
  if (nowMs > status.resolved_at_ms + status.bound_ms) return withheld(withheldReason("processor_lag"));
  return { state: "open", why: "" };
}

const withheld = (why) => ({ state: "withheld", why });

/** Judges anew; true if the verdict changed. */
export function rejudge() {
  const verdict = judge(ground.link, ground.status, now());
  const changed = verdict.state !== ground.claims.state || verdict.why !== ground.claims.why;
  ground.claims = verdict;
  return changed;
}

/** What may be said of `eligible` now: itself, or null for "—". */
export const claimed = (eligible) => (ground.claims.state === "open" ? eligible : null);

/** Age of what the page shows, milliseconds; null before anything was heard. */
export function resolvedAge() {
  const at = ground.status?.resolved_at_ms;
  return at === null || at === undefined ? null : Math.max(0, now() - at);
}
