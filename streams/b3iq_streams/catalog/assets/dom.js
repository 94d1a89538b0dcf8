/** Builds elements. Data only ever becomes text or an attribute, never markup. */

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element; `on…` properties listen, null and false are left out, children that are not nodes become text. */
export function h(tag, props, ...children) {
  return build(document.createElement(tag), props, children);
}

/** An SVG element. */
export function s(tag, props, ...children) {
  return build(document.createElementNS(SVG, tag), props, children);
}

function build(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...present(children));
  return element;
}

const present = (children) =>
  children.flat(3).filter((child) => child !== null && child !== undefined && child !== false && child !== "");

/** Replaces what `parent` holds. */
export function put(parent, ...children) {
  parent.replaceChildren(...present(children));
}

/** Sets text only where it differs, so that screen readers and selections are left alone. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Makes the children of `parent` those of `items`, in order: a child whose item and `stamp` are as before stays the very
 * same element, one whose item changed is built anew in its place, and marked `changed` if what is `notable` of it did.
 * Focus stays in its row.
 */
export function keyed(parent, items, keyOf, create, stamp = "", notable = JSON.stringify) {
  const before = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const focus = focusIn(parent);
  const wanted = items.map((item) => {
    const key = keyOf(item);
    const content = JSON.stringify(item);
    const old = before.get(key);
    if (old && old.content === content && old.stamp === stamp) return old;
    const child = create(item);
    if (old && old.stamp === stamp && notable(JSON.parse(old.content)) !== notable(item))
      child.classList.add("changed");
    return Object.assign(tagged(child, key), { content, stamp });
  });
  const staying = new Set(wanted);
  for (const child of [...parent.children]) if (!staying.has(child)) child.remove();
  wanted.forEach((child, place) => {
    if (parent.children[place] !== child) parent.insertBefore(child, parent.children[place] ?? null);
  });
  if (focus && !parent.contains(document.activeElement)) giveFocus(parent, focus);
}

function tagged(child, key) {
  child.dataset.key = key;
  return child;
}

const REACHABLE = "a[href], button, input, select, summary";

function focusIn(parent) {
  const row = [...parent.children].find((child) => child.contains(document.activeElement));
  if (!row) return null;
  const place = [...row.querySelectorAll(REACHABLE)].indexOf(document.activeElement);
  return { key: row.dataset.key, row: [...parent.children].indexOf(row), place };
}

function giveFocus(parent, { key, row, place }) {
  const rows = [...parent.children];
  const target = rows.find((child) => child.dataset.key === key) ?? rows[Math.min(row, rows.length - 1)];
  const reachable = [...(target?.querySelectorAll(REACHABLE) ?? [])];
  (reachable[place] ?? reachable[0])?.focus({ preventScroll: true });
}
