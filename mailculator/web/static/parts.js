// What several views are made of: tables, tags, moments.

import { element } from "./dom.js";
import * as words from "./words.js";

/**
 * A table that becomes a list of blocks where it is narrow. The roles say that it is one all the same.
 *
 * @param {string} caption what it lists
 * @param {Array} columns headers
 * @param {Array} rows `{key, cells}`; a cell is a node, text, or a list of these
 */
export function table(caption, columns, rows) {
  const head = columns.map((column) => element("th", { role: "columnheader", scope: "col" }, column));
  return element(
    "table",
    { role: "table" },
    element("caption", {}, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)),
    element(
      "tbody",
      { role: "rowgroup" },
      rows.map((row) => line(columns, row)),
    ),
  );
}

function line(columns, { key, cells }) {
  const all = cells.map((cell, number) =>
    element(
      "td",
      { role: "cell", "data-label": typeof columns[number] === "string" ? columns[number] : null },
      element("div", {}, cell),
    ),
  );
  return element("tr", { role: "row", "data-key": key }, all);
}

/** A word that marks something, with a shape beside its colour. `kind` is good, bad, warn or plain. */
export function tag(kind, text) {
  return element("span", { class: `tag ${kind}` }, text);
}

/** A moment in UTC. */
export function moment(when) {
  return when ? element("time", { datetime: when, class: "moment" }, words.at(when)) : "–";
}

/** A button that looks like what it is. */
export function button(label, onclick, attributes = {}) {
  return element("button", { type: "button", onclick, ...attributes }, label);
}

/** Links to the same view of each store, where there are several. */
export function storeTabs(stores, current, address) {
  if (stores.length < 2) return null;
  const link = (store) =>
    element("a", { href: address(store.store), "aria-current": store.store === current ? "page" : null }, store.title);
  return element("nav", { class: "tabs", "aria-label": "Store" }, stores.map(link));
}
