// The overview: what is wrong, then each store with its flow, its pace, its replicas and its pauses.

import { element } from "./dom.js";
import { pipelines, replicas } from "./fleet.js";
import { flow } from "./flow.js";
import { plot } from "./plots.js";
import { problems } from "./problems.js";
import { listAt } from "./routes.js";
import { tag } from "./parts.js";
import * as words from "./words.js";

const RATES = [
  ["entered", "in"],
  ["sent", "sent"],
  ["failed", "failed"],
  ["acknowledged", "acknowledged"],
];

/** The view behind `#/`, `#/mysql` and `#/mysql/replicas`: they differ in where the reader is put. */
export function overviewView(route, page) {
  const nodes = () => {
    const { overview } = page.live;
    if (!overview)
      return element("p", { class: "faint", "data-key": "none" }, "Waiting for the first look at the stores…");
    return [
      element("h1", { class: "unseen", tabindex: -1 }, "Overview"),
      problems(overview),
      overview.cutover ? cutover(overview, page.live) : null,
      element(
        "div",
        { class: "stores", "data-key": "stores" },
        overview.stores.map((store) => card(store, page)),
      ),
    ];
  };
  const target = [route.store, route.part].filter(Boolean).join("-");
  return { title: () => "Overview", nodes, target: () => document.getElementById(target) };
}

function card(store, page) {
  return element(
    "section",
    { class: "store", "data-key": store.store, "aria-labelledby": store.store },
    element("header", {}, element("h2", { id: store.store, tabindex: -1 }, store.title), state(store)),
    store.error !== null
      ? element("p", { class: "refused" }, `Nothing is known of it: ${store.error}`)
      : whole(store, page),
  );
}

function state(store) {
  if (store.error !== null) return tag("bad", "does not answer");
  if (store.writable === false) return tag("bad", "takes no writes");
  return tag("good", store.latency_ms === null ? "answers" : `answers in ${store.latency_ms.toFixed(1)} ms`);
}

function whole(store, page) {
  return [
    figures(store),
    flow(store),
    element("div", { class: "plots" }, plots(store, page.live)),
    pipelines(store, page),
    replicas(store),
  ];
}

function figures(store) {
  const parked = store.parked
    ? element("a", { href: listAt(store.store, { parked: 1 }) }, words.count(store.parked))
    : "0";
  return element(
    "dl",
    { class: "figures" },
    figure("Backlog", words.count(store.backlog), words.untilEmpty(store)),
    figure("In", words.rate(store.rates.entered ?? 0)),
    figure("Sent", words.rate(store.rates.sent ?? 0)),
    figure(
      "Failed",
      words.rate(store.rates.failed ?? 0),
      store.rates.invalid ? `${words.rate(store.rates.invalid)} invalid` : null,
    ),
    figure("Acknowledged", words.rate(store.rates.acknowledged ?? 0)),
    figure("To be tried again", words.rate(store.rates.retried ?? 0)),
    figure("Parked", parked),
  );
}

function figure(name, value, more = null) {
  return element(
    "div",
    {},
    element("dt", {}, name),
    element("dd", {}, value, more ? element("span", { class: "more" }, more) : null),
  );
}

function plots(store, live) {
  const kept = live.series.get(store.store);
  const lines = RATES.map(([column, name]) => ({ name, at: kept.at, values: kept[column] }));
  return [
    plot(`${store.store}-rates`, "Emails a second", lines, words.rate),
    plot(
      `${store.store}-backlog`,
      "Backlog",
      [{ name: "waiting and in hand", at: kept.at, values: kept.backlog }],
      words.count,
    ),
  ];
}

function cutover({ cutover: found, stores }, live) {
  const lines = stores.map((store) => ({
    name: store.title,
    at: live.series.get(store.store).at,
    values: live.series.get(store.store).backlog,
  }));
  return element(
    "section",
    { class: "cutover", "data-key": "cutover", "aria-labelledby": "cutover" },
    element("h2", { id: "cutover" }, `Cutover: ${found.title}`),
    element("p", {}, `Phase: ${found.phase}. `, found.next_step ? `Next: ${found.next_step}` : ""),
    found.hindrances.length
      ? [
          element("p", {}, "In its way:"),
          element(
            "ul",
            {},
            found.hindrances.map((one) => element("li", {}, one)),
          ),
        ]
      : element("p", {}, found.ready ? "Nothing is in its way." : "Not ready yet."),
    plot("cutover-backlog", "Backlog of both stores", lines, words.count),
  );
}
