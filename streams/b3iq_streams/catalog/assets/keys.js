/** The keyboard: "/" to the filter, arrows along the rows, Esc out of the filter, digits to the views. Can be turned off. */

const REMEMBERED = "b3iq-keys";

const find = (selector) => document.querySelector(selector);
const singleKeys = () => find("#keys-single");

/** Listens for the whole page. */
export function keyboard() {
  const dialog = find("#keys");
  remembered(singleKeys());
  find("#keys-open").addEventListener("click", () => dialog.showModal());
  find("#skip").addEventListener("click", (event) => {
    event.preventDefault(); // the hash names the view; it must not become "#main"
    find("#main").focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || dialog.open) return;
    const typing = event.target.matches("input, select, textarea");
    if (
      typing ? inField(event.key, event.target) : along(event.key) || (singleKeys().checked && act(event.key, dialog))
    )
      event.preventDefault();
  });
}

/** Whoever dictates or mistypes can turn single keys off; that is remembered. */
function remembered(box) {
  try {
    box.checked = localStorage.getItem(REMEMBERED) !== "off";
    box.addEventListener("change", () => localStorage.setItem(REMEMBERED, box.checked ? "on" : "off"));
  } catch {
    // not remembered, but heeded
  }
}

/** Arrows move along the rows once one is in one; everywhere else they scroll, as always. */
function along(key) {
  if (!document.activeElement?.matches("[data-row]")) return false;
  if (key === "ArrowDown") return step(1);
  return key === "ArrowUp" && step(-1);
}

function act(key, dialog) {
  if (key === "/") return focus(find("#main [data-filter]"));
  if (key === "?") return dialog.showModal() ?? true;
  if (key === "j") return step(1);
  if (key === "k") return step(-1);
  if (key === "p") return press(find("#main [data-pause]"));
  if (/^[1-5]$/.test(key)) return press(document.querySelectorAll(".nav a")[Number(key) - 1]);
  return false;
}

function inField(key, field) {
  if (key === "Escape") return leaveFilter(field);
  return key === "ArrowDown" && field.type === "search" && step(1);
}

function leaveFilter(field) {
  if (field.type === "search" && field.value) {
    field.value = "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  } else if (!step(1)) field.blur();
  return true;
}

/** Moves along the rows of the view; from anywhere else to the first of them. False without rows. */
function step(by) {
  const rows = [...document.querySelectorAll("#main [data-row]")];
  const here = rows.indexOf(document.activeElement);
  if (here < 0 && by < 0) return false;
  return focus(here < 0 ? rows[0] : (rows[here + by] ?? rows[here]));
}

function focus(element) {
  element?.focus();
  return Boolean(element);
}

function press(element) {
  element?.click();
  return Boolean(element);
}
