/** The changes heard since the page was opened, newest first, and the places where some were missed. Bounded. */

const KEPT = 500;

let number = 0;
const items = [];
const listeners = new Set();

/** All that is kept: {key, change} or {key, missed: why}. */
export const heard = () => items;

/** `act(item)` with each that comes; → a function that ends it. */
export function listen(act) {
  listeners.add(act);
  return () => listeners.delete(act);
}

/** A change came. */
export const add = (change) => push({ key: `c${++number}`, change });

/** Some changes were not heard; said once per gap. */
export function missed(why) {
  if (items.length && !items[0].missed) push({ key: `m${++number}`, missed: why });
}

function push(item) {
  items.unshift(item);
  if (items.length > KEPT) items.pop();
  for (const act of listeners) act(item);
}
