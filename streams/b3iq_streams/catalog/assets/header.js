/** Says in the head of the page how fresh it is, and in a banner when nothing can be claimed. */

import { ground, resolvedAge } from "./claims.js";
import { say } from "./dom.js";
import { dayAndTime, watched } from "./format.js";

const find = (id) => document.getElementById(id);

/** Draws age, link and banner; cheap enough to be called a few times a second. */
export function drawHeader() {
  const { claims, link, status } = ground;
  const age = resolvedAge();
  document.documentElement.dataset.claims = claims.state;
  document.documentElement.dataset.link = link.state;
  say(find("fresh-text"), freshness(claims, link, age));
  find("fresh").title = status?.resolved_at_ms
    ? `Everything up to ${dayAndTime(status.resolved_at_ms)} is taken into account`
    : "";
  find("fresh").dataset.at = status?.resolved_at_ms ? new Date(status.resolved_at_ms).toISOString() : "";
  say(find("network"), status?.network ? `Network ${status.network}. ` : "");
  find("banner").hidden = claims.state !== "withheld";
  if (claims.state === "withheld") {
    say(
      find("banner-age"),
      age === null ? "Nothing resolved yet: claims withheld." : `Last resolved ${watched(age)} ago: claims withheld.`,
    );
    say(find("banner-why"), claims.why + retrying(link));
  }
}

/** Says once, to those who listen, that claims were withheld or are back. */
export function announce() {
  const { claims } = ground;
  if (claims.state === "withheld") say(find("announce"), `Claims withheld. ${claims.why}`);
  else if (find("announce").textContent && claims.state === "open") say(find("announce"), "Live again.");
}

function freshness(claims, link, age) {
  if (age === null) return claims.state === "withheld" ? "Not connected" : "Connecting…";
  if (claims.state === "withheld") return `Last resolved ${watched(age)} ago`;
  return `${link.state === "polling" ? "Polling · " : ""}Resolved ${watched(age)} ago`;
}

function retrying(link) {
  if (link.state !== "lost") return "";
  const seconds = Math.ceil((link.retryAt - performance.now()) / 1000);
  return seconds > 1 ? ` Trying again in ${seconds} s.` : " Trying again.";
}
