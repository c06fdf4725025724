// What stands around every view: the way to the others, whether the service is heard, and what has just been done.

import { element, render } from "./dom.js";
import { button } from "./parts.js";
import { isWrong, named } from "./problems.js";
import { auditAt, findAt, listAt, overviewAt } from "./routes.js";
import * as words from "./words.js";

const part = (id) => document.getElementById(id);

/** The header: empty until somebody has signed in. */
export function header(route, page) {
  if (!page.session.signed_in) return render(part("header"), element("b", { class: "brand" }, "mailculator"));
  const store = route.store ?? page.stores()[0]?.store ?? null;
  const link = (view, href, name) => element("a", { href, "aria-current": route.view === view ? "page" : null }, name);
  render(
    part("header"),
    element("b", { class: "brand" }, "mailculator"),
    element(
      "nav",
      { "aria-label": "Views" },
      link("overview", overviewAt(), "Overview"),
      store
        ? [link("emails", listAt(store, { status: "READY" }), "Emails"), link("audit", auditAt(store), "Audit")]
        : null,
    ),
    finder(),
    element("span", { class: "who" }, page.session.name, " ", button("Sign out", page.signOut)),
  );
}

function finder() {
  const go = (event) => {
    event.preventDefault();
    const id = new FormData(event.target).get("id").trim();
    if (id) window.location.hash = findAt(id);
  };
  return element(
    "form",
    { role: "search", "aria-label": "Find an email", class: "find", onsubmit: go },
    element("label", { for: "find", class: "unseen" }, "Find an email by its id"),
    element("input", {
      id: "find",
      name: "id",
      type: "text",
      placeholder: "An email's id",
      autocomplete: "off",
      spellcheck: "false",
      size: 38,
    }),
    element("button", { type: "submit" }, "Find"),
  );
}

/** Says so while the service is not heard. */
export function connection(live) {
  const lost = live.lostSince !== null;
  document.body.classList.toggle("lost", lost);
  const seen = live.overview ? ` What stands here was seen at ${words.clock(live.overview.at)}.` : "";
  // A message that changes is read out again: so this one stays as it is until it goes.
  render(
    part("connection"),
    lost ? element("p", {}, `Not connected since ${words.clock(live.lostSince)}.${seen} Trying again.`) : null,
  );
}

/** What was done, until it is dismissed or the next view comes. */
export function tell(sentence) {
  const dismiss = () => render(part("told"));
  render(part("told"), sentence ? element("p", {}, sentence, " ", button("Dismiss", dismiss)) : null);
}

/** The page's title: whether something is wrong can be read off a tab. */
export function titled(title, live) {
  const wrong = live.overview?.problems.filter(isWrong).length ?? 0;
  const mark = live.lostSince !== null ? "not connected – " : wrong ? `(${wrong}) ` : "";
  document.title = `${mark}${title} – mailculator`;
}

/** Who answers. */
export function footer(session) {
  render(part("footer"), `mailculator ${session.version} at ${session.replica}. All times are UTC.`);
}

/**
 * Tells a screen reader what has begun to be wrong and what has ended, once each; not the figures, which change with
 * every second.
 */
export class Announcer {
  constructor() {
    this._known = null;
  }

  hear(overview) {
    const now = new Map(named(overview.problems.filter(isWrong)));
    const before = this._known;
    this._known = now;
    if (before === null) return;
    const begun = [...now].filter(([key]) => !before.has(key)).map(([, one]) => `New: ${one.text}`);
    const over = [...before].filter(([key]) => !now.has(key)).map(([, one]) => `Over: ${one.text}`);
    const well = now.size === 0 && before.size > 0 ? ["All is well."] : [];
    if (begun.length + over.length)
      render(
        part("announced"),
        [...begun, ...over, ...well].map((text) => element("p", {}, text)),
      );
  }
}
