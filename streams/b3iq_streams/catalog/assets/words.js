/** The words for gates, tiers, runtimes and states; reasons get theirs from the catalog (leaves.js). */

/** The five gates in the order of explanation. */
export const GATES = [
  { id: "node", name: "Node", asks: "enrolled, online, fresh signed heartbeat" },
  { id: "route", name: "Route", asks: "healthy public route, vouched for by a broker" },
  { id: "protocol", name: "Protocol", asks: "registered, active, enough stake" },
  { id: "runtime", name: "Runtime", asks: "runtime answers, profile installed" },
  { id: "policy", name: "Policy", asks: "benchmark observed and fresh; tier, runtime and queue allowed" },
];

export const STATE_WORDS = {
  pass: "passes",
  fail: "blocks",
  unknown: "cannot tell",
  past: "passed when last resolved",
};

const WHAT_WORDS = { opened: "Became eligible", closed: "Blocked", changed: "Reasons changed" };
export const whatWord = (what) => WHAT_WORDS[what] ?? spaced(what);

const RUNTIMES = { vllm: "vLLM", sglang: "SGLang", openai: "OpenAI-compatible", ollama: "Ollama" };
export const runtimeName = (kind) => RUNTIMES[kind] ?? kind;

/** "network_beta" → "Network beta". */
export const tierName = (tier) => spaced(tier);

/** A word of an open list, for people. */
export function spaced(token) {
  const text = String(token).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

const REASONS = {
  processor_lag: "The processor has not resolved anything lately, so nothing can be said about any node.",
  view_not_synced: "The catalog is still reading the log and does not have the whole picture yet.",
  policy_lag: "A newer policy is out that the decisions do not follow yet.",
  clock_behind: "The catalog's clock cannot be trusted at the moment.",
  processor_key_revoked: "The key that signed the decisions is no longer trusted.",
  grant_expired: "The evidence behind the claims has expired.",
};

/** Why the catalog itself withholds claims. */
export const withheldReason = (code) =>
  REASONS[code] ?? (code ? `The catalog says: ${spaced(code)}.` : "The catalog is not ready.");
