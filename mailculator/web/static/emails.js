// A list of emails: by status, parked, of unknown outcome, by recipient domain; page by page, and actions on its rows.

import * as api from "./api.js";
import * as deeds from "./deeds.js";
import { element } from "./dom.js";
import { asked, filterOf, heading, isNarrow, search } from "./filters.js";
import { TERMINAL, WAITING } from "./lifecycle.js";
import { button, moment, storeTabs, table, tag } from "./parts.js";
import { emailAt, listAt } from "./routes.js";
import * as words from "./words.js";

const LIMIT = 50;
const earlier = new Map(); // by a page's address: the address of the page before, as far as the reader came along it

/** The view behind `#/mysql/emails?status=READY`. */
export function emailsView(route, page) {
  const { store, query } = route;
  const filter = filterOf(query);
  const after = query.get("after");
  const chosen = new Set();
  let found = null;
  let seen = null;
  let refused = null;
  let whole = false;
  let turn = 0; // what the reader ticked counts for one action

  async function load() {
    try {
      found = await api.emails(store, { ...filter, after, limit: LIMIT });
      seen = new Date();
      refused = null;
      const there = new Set(found.emails.map((row) => row.id));
      for (const id of chosen) if (!there.has(id)) chosen.delete(id);
    } catch (error) {
      refused = error.message;
    }
    page.redraw();
  }

  // "All" must not stay behind for somebody who then selects a few.
  function done(sentence) {
    whole = false;
    turn += 1;
    page.tell(sentence);
    load();
  }

  const nodes = () => [
    element("h1", { tabindex: -1 }, heading(store, filter)),
    storeTabs(page.stores(), store, (other) => listAt(other, filter)),
    search(store, filter, page.stores()),
    refused ? element("p", { class: "refused", role: "alert", "data-key": "refused" }, refused) : null,
    found ? list() : refused ? null : element("p", { class: "faint" }, "Looking…"),
  ];

  function list() {
    return element(
      "div",
      { "data-key": "list" },
      found.note ? element("p", { class: "note" }, found.note) : null,
      found.emails.length ? [bar(), rows()] : element("p", {}, after ? "No more emails." : "No email is like that."),
      pages(),
    );
  }

  function bar() {
    const target = whole ? { filter: asked(filter) } : { ids: [...chosen] };
    const whom = whole ? "all emails of this list" : `the ${words.emails(chosen.size)} selected`;
    const choose = (value) => ({
      "data-key": `${value} ${turn}`,
      type: "radio",
      name: "whom",
      value: String(value),
      checked: whole === value,
      onchange: () => choice(value),
    });
    return element(
      "div",
      { class: "bar", role: "group", "aria-label": "Actions", "data-key": "bar" },
      element("label", {}, element("input", choose(false)), ` selected (${chosen.size})`),
      isNarrow(filter) ? element("label", {}, element("input", choose(true)), " all of this list, all pages") : null,
      found.actions.map((deed) =>
        button(`${deed.label}…`, () => deeds.act(store, deed, whom, target, done), {
          disabled: !whole && chosen.size === 0,
          "data-key": deed.action,
        }),
      ),
    );
  }

  function choice(value) {
    whole = value;
    page.redraw();
  }

  function rows() {
    const pick = (ids, on) => {
      ids.forEach((id) => (on ? chosen.add(id) : chosen.delete(id)));
      page.redraw();
    };
    const ids = found.emails.map((row) => row.id);
    const every = element("input", {
      "data-key": `every ${turn}`,
      type: "checkbox",
      "aria-label": "Select all on this page",
      onchange: (event) => {
        for (const box of document.querySelectorAll("[data-row]")) box.checked = event.target.checked;
        pick(ids, event.target.checked);
      },
    });
    const box = (id) =>
      element("input", {
        type: "checkbox",
        "data-row": true,
        "aria-label": `Select ${id}`,
        onchange: (event) => pick([id], event.target.checked),
      });
    const columns = [every, "Email", "Status", "Domain", "Tries", "Updated", "Next try", "Last error or reason"];
    return table(
      heading(store, filter),
      columns,
      found.emails.map((row) => ({ key: row.id, cells: [box(row.id), ...cells(store, row)] })),
    );
  }

  function pages() {
    const here = listAt(store, { ...filter, after });
    const next = found.next ? listAt(store, { ...filter, after: found.next }) : null;
    if (next) earlier.set(next, here);
    const back = after ? (earlier.get(here) ?? null) : null;
    return element(
      "nav",
      { class: "pages", "aria-label": "Pages", "data-key": "pages" },
      after ? element("a", { href: listAt(store, filter), "data-key": "first" }, "First page") : null,
      back ? element("a", { href: back, rel: "prev", "data-key": "back" }, "Back") : null,
      next ? element("a", { href: next, rel: "next", "data-key": "next" }, "Next") : null,
      element(
        "span",
        { class: "faint" },
        `${words.emails(found.emails.length)} on this page, as of ${words.clock(seen)}`,
      ),
      button("Look again", load),
    );
  }

  return { title: () => heading(store, filter), nodes, load };
}

function cells(store, row) {
  return [
    element("a", { class: "id", href: emailAt(store, row.id) }, row.id),
    [row.status, ...marks(row).map((mark) => [" ", mark])],
    row.recipient_domain ?? "–",
    String(row.attempts),
    moment(row.updated_at),
    WAITING.has(row.status) ? (row.parked ? "–" : moment(row.due_at)) : TERMINAL.has(row.status) ? "–" : heldBy(row),
    row.last_error ?? row.reason ?? "–",
  ];
}

function heldBy(row) {
  return `held by ${row.claimed_by ?? "another program"}`;
}

/** What is to be known of a row beside its status. */
export function marks(row) {
  const unknown = [row.last_error, row.reason].some((text) => text?.startsWith("outcome unknown"));
  return [
    row.parked && tag("warn", "parked"),
    row.cancelled && tag("plain", "cancelled"),
    unknown && tag("bad", "outcome unknown"),
    row.crashes > 0 && tag("bad", `crashed ${row.crashes}×`),
  ].filter(Boolean);
}
