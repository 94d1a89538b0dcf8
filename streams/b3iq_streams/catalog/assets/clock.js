/**
 * The catalog's clock, as told by it and carried on here; what the visitor's own clock says does not matter.
 *
 * What was long on its way tells too early a time, so of all that was told lately the latest counts: never the most flattering.
 */

const LATELY_MS = 60_000;

let told = [];

/** The catalog said that it is `nowMs`. */
export function adopt(nowMs) {
  told = told.filter((one) => elapsed(one) < LATELY_MS);
  told.push({ nowMs, steady: performance.now(), wall: Date.now() });
}

/** The catalog's time now. */
export function now() {
  if (!told.length) return Date.now();
  return Math.round(Math.max(...told.map((one) => one.nowMs + elapsed(one))));
}

/** The larger of two clocks counts: one of them stands still while a machine sleeps. */
const elapsed = ({ steady, wall }) => Math.max(0, performance.now() - steady, Date.now() - wall);
