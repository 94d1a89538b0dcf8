/** Small drawings of numbers: a line of the past, a bar of a share. Attributes only, no styles. */

import { h, s } from "./dom.js";
import { duration } from "./format.js";

const WIDTH = 172;
const HEIGHT = 34;
const EDGE = 3;

/** Eligible over time as steps, on a scale from 0 to `total`; `stepMs` between points. */
export function spark(points, total, stepMs) {
  if (points.length < 2) return h("span", { class: "quiet" }, "no history yet");
  const top = Math.max(total, ...points, 1);
  const x = (place) => ((place / (points.length - 1)) * (WIDTH - EDGE)).toFixed(1);
  const y = (n) => (HEIGHT - EDGE - (n / top) * (HEIGHT - 2 * EDGE)).toFixed(1);
  const line = points.map((n, place) => (place ? `H${x(place)}V${y(n)}` : `M0 ${y(n)}`)).join("");
  const last = points.at(-1);
  const label = `Eligible over the last ${duration(stepMs * (points.length - 1))}: lowest ${Math.min(...points)}, highest ${Math.max(...points)}, latest ${last}`;
  return s(
    "svg",
    {
      class: "spark",
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      width: WIDTH,
      height: HEIGHT,
      role: "img",
      "aria-label": label,
    },
    s("title", null, label),
    s("path", { class: "spark-floor", d: `M0 ${HEIGHT - EDGE + 0.5}H${WIDTH}` }),
    s("path", { class: "spark-area", d: `${line}V${HEIGHT - EDGE}H0Z` }),
    s("path", { class: "spark-line", d: line }),
    s("circle", { class: "spark-now", cx: WIDTH - EDGE, cy: y(last), r: 2.4 }),
  );
}

/** A bar of `part` in `whole`; empty while the part is not to be said. */
export function share(part, whole, kind = "pass") {
  const filled = part === null || part === undefined || !whole ? 0 : (part / whole) * 100;
  return s(
    "svg",
    { class: `share share-${kind}`, viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" },
    s("rect", { class: "share-all", width: 100, height: 4 }),
    s("rect", { class: "share-part", width: filled.toFixed(2), height: 4 }),
  );
}
