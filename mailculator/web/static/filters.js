// What a list is of (status, parked, of unknown outcome, to a domain): in words, for the service, and as a form.

import { element } from "./dom.js";
import { STATUSES, TERMINAL } from "./lifecycle.js";
import { listAt } from "./routes.js";
import * as words from "./words.js";

const NAMES = ["status", "parked", "unknown", "domain"];

/** The filter that an address asks for: what it does not name is not in it. */
export function filterOf(query) {
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name)]).filter(([, value]) => value));
}

/** What a list is of, as its heading. */
export function heading(store, { status, parked, unknown, domain }) {
  const what = [
    parked && "parked",
    unknown && "of unknown outcome",
    status && `in ${status}`,
    domain && `to ${domain}`,
  ];
  return `${words.title(store)}: emails ${what.filter(Boolean).join(", ")}`.trim();
}

/** Whether the service does something to all of it: not to everything, and not to all mail to somebody. */
export function isNarrow({ status, parked, unknown }) {
  return Boolean(status || parked || unknown);
}

/** As the service takes it for actions. */
export function asked({ status, parked, unknown, domain }) {
  return { status: status ?? null, parked: Boolean(parked), unknown: Boolean(unknown), domain: domain ?? null };
}

/** The form that leads to a list. */
export function search(store, filter, stores) {
  const can = stores.find((one) => one.store === store)?.can ?? { search_domain: true, list_terminal: true };
  const status = element(
    "select",
    { id: "status", name: "status" },
    can.list_terminal ? element("option", { value: "" }, "any status") : null,
    STATUSES.filter((one) => can.list_terminal || !TERMINAL.has(one)).map((one) =>
      element("option", { value: one, selected: one === filter.status }, one),
    ),
  );
  const check = (name, label) =>
    element(
      "label",
      {},
      element("input", { type: "checkbox", name, value: "1", checked: Boolean(filter[name]) }),
      ` ${label}`,
    );
  const domain = element("input", {
    id: "domain",
    name: "domain",
    type: "text",
    value: filter.domain ?? null,
    autocomplete: "off",
    spellcheck: "false",
    size: 24,
  });
  const go = (event) => {
    event.preventDefault();
    window.location.hash = listAt(store, Object.fromEntries(new FormData(event.target)));
  };
  return element(
    "form",
    {
      class: "search",
      role: "search",
      "aria-label": "Lists",
      onsubmit: go,
      "data-key": `search ${JSON.stringify(filter)}`,
    },
    element("label", { for: "status" }, "Status "),
    status,
    check("parked", "parked"),
    check("unknown", "outcome unknown"),
    can.search_domain
      ? [element("label", { for: "domain" }, "Recipient's domain "), domain]
      : element(
          "span",
          { class: "faint" },
          "This store lists active statuses and finds exact ids; it has no search by domain.",
        ),
    element("button", { type: "submit" }, "Show"),
  );
}
