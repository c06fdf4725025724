// What operators did that concerns no single email, newest first.

import * as api from "./api.js";
import { element } from "./dom.js";
import { moment, storeTabs, table } from "./parts.js";
import { auditAt } from "./routes.js";
import * as words from "./words.js";

/** The view behind `#/mysql/audit`. */
export function auditView(route, page) {
  const { store, query } = route;
  const after = query.get("after");
  let found = null;
  let refused = null;

  async function load() {
    try {
      found = await api.audit(store, after);
      refused = null;
    } catch (error) {
      refused = error.message;
    }
    page.redraw();
  }

  const title = () => `${words.title(store)}: what operators did`;
  const nodes = () => [
    element("h1", { tabindex: -1 }, title()),
    storeTabs(page.stores(), store, (other) => auditAt(other)),
    refused
      ? element("p", { class: "refused", role: "alert" }, refused)
      : found
        ? list()
        : element("p", { class: "faint" }, "Looking…"),
  ];

  function list() {
    const rows = found.entries.map((entry, number) => ({
      key: String(number),
      cells: [moment(entry.at), entry.who, entry.what, entry.why],
    }));
    return element(
      "div",
      { "data-key": "list" },
      rows.length
        ? table(
            "Deeds, newest first; what was done to an email stands in its history",
            ["Time", "Who", "What", "Why"],
            rows,
          )
        : element("p", {}, "Nothing yet."),
      element(
        "nav",
        { class: "pages", "aria-label": "Pages" },
        after ? element("a", { href: auditAt(store) }, "Newest") : null,
        found.next ? element("a", { href: auditAt(store, found.next), rel: "next" }, "Older") : null,
      ),
    );
  }
  return { title, nodes, load };
}
