// The statuses of a store as the flow of the status machine, each with what stands there.

import { element } from "./dom.js";
import { TERMINAL, WAITING } from "./lifecycle.js";
import { listAt } from "./routes.js";
import * as words from "./words.js";

/** The flow of one store: an ordered list, which style.css lays out as the diagram where there is room. */
export function flow(store) {
  return element(
    "ol",
    { class: "flow", "aria-label": `Statuses of ${store.title}` },
    store.statuses.map((one) => box(store, one)),
  );
}

function box(store, { status, count, parked, oldest_age_s: oldest }) {
  const kind = TERMINAL.has(status) ? "terminal" : WAITING.has(status) ? "waiting" : "working";
  const listed = kind !== "terminal" || store.can.list_terminal;
  const name = listed ? element("a", { href: listAt(store.store, { status }) }, status) : status;
  return element(
    "li",
    { class: `status ${kind} at-${status.toLowerCase()}${count ? " some" : ""}`, "data-key": status },
    element("span", { class: "name" }, name),
    element(
      "span",
      { class: count === null ? "count unknown" : "count" },
      count === null ? "not counted" : words.count(count),
    ),
    element(
      "span",
      { class: "age" },
      count && oldest !== null && oldest > 0 ? `oldest ${words.span(Math.round(oldest))}` : "",
    ),
    element(
      "span",
      { class: "parked" },
      parked ? element("a", { href: listAt(store.store, { status, parked: 1 }) }, `${words.count(parked)} parked`) : "",
    ),
  );
}
