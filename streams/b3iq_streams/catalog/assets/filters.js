/** The filter of a list: fields that narrow it, kept in the address. */

import { h, put } from "./dom.js";

const TYPING_MS = 160;

/** A search field and selects. `fields` = [{name, label, options: [[value, words] | {group, options}]}]; `act(query)` on each change. */
export class Filters {
  #act;
  #form;
  #timer = 0;
  #offered = new Map();
  #clear;

  constructor(fields, query, act, hint) {
    this.#act = act;
    const search = h(
      "label",
      { class: "search" },
      h("span", { class: "unseen" }, hint),
      h("input", {
        type: "search",
        name: "q",
        placeholder: hint,
        "data-filter": true,
        maxlength: 128,
        autocomplete: "off",
        spellcheck: "false",
        oninput: () => this.#soon(),
      }),
      h("kbd", { "aria-hidden": "true" }, "/"),
    );
    this.#clear = h("button", { type: "reset", class: "link-button" }, "Clear");
    this.#form = h(
      "form",
      {
        class: "filters",
        role: "search",
        onsubmit: (event) => event.preventDefault(),
        onreset: () => setTimeout(() => this.#changed()),
      },
      search,
      fields.map((field) => this.#select(field)),
      this.#clear,
    );
    this.#form.elements.q.value = query.q ?? "";
    for (const field of fields) this.offer(field.name, field.options, query[field.name]);
    this.#showClear();
  }

  get element() {
    return this.#form;
  }

  /** What is asked for now, without what is left open. */
  get query() {
    return Object.fromEntries([...new FormData(this.#form)].filter(([, value]) => value));
  }

  /** Puts choices into a select; the chosen one stays, even if it is not (or no longer) among them. */
  offer(name, options, chosen = this.#form.elements[name].value) {
    const select = this.#form.elements[name];
    const content = JSON.stringify(options);
    if (this.#offered.get(name) === content) return; // a list that is open stays as it is
    this.#offered.set(name, content);
    const flat = options.flatMap((option) => option.options ?? [option]);
    const kept = chosen && !flat.some(([value]) => value === chosen) ? [[chosen, chosen]] : [];
    put(select, [["", select.dataset.any], ...kept, ...options].map(choice));
    select.value = chosen ?? "";
    this.#showClear();
  }

  stop() {
    clearTimeout(this.#timer);
  }

  #select({ name, label, any }) {
    const select = h("select", { name, "aria-label": label, "data-any": any, onchange: () => this.#changed() });
    return h("span", { class: "select" }, select);
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#changed(), TYPING_MS);
  }

  #changed() {
    this.#showClear();
    this.#act(this.query);
  }

  #showClear() {
    this.#clear.hidden = !Object.keys(this.query).length;
  }
}

function choice(option) {
  if (option.group) return h("optgroup", { label: option.group }, option.options.map(choice));
  return h("option", { value: option[0] }, option[1]);
}
