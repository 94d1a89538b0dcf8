/** A table that stays a table for screen readers when narrow screens lay it out as cards. */

import { h } from "./dom.js";

/** `columns` = [{name, kind}]; → {element, body}: fill `body` with `row`s. */
export function table(label, columns, kind) {
  const head = h(
    "tr",
    { role: "row" },
    columns.map((column) =>
      h(
        "th",
        { role: "columnheader", scope: "col", class: column.kind ?? null },
        column.unseen ? h("span", { class: "unseen" }, column.name) : column.name,
      ),
    ),
  );
  const body = h("tbody", { role: "rowgroup" });
  const element = h(
    "table",
    { role: "table", class: `table ${kind}`, "aria-label": label },
    h("thead", { role: "rowgroup" }, head),
    body,
  );
  return { element, body };
}

/** One row; `cells` = [kind, ...content] each, the first of them its header if `kind` begins with "name". */
export function row(cells, props = {}) {
  return h(
    "tr",
    { role: "row", ...props },
    cells.map(([kind, ...content]) =>
      kind.startsWith("name")
        ? h("th", { role: "rowheader", scope: "row", class: kind }, content)
        : h("td", { role: "cell", class: kind }, content),
    ),
  );
}
