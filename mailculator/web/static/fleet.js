// The replicas of a store and its pipelines: who is there, what each says, what is paused.

import * as deeds from "./deeds.js";
import { element } from "./dom.js";
import { button, table, tag } from "./parts.js";
import * as words from "./words.js";

/** The pipelines of a store, with their pauses, and the buttons for these. */
export function pipelines(store, page) {
  const rows = ["*", ...store.pipelines].map((name) => pipeline(store, name, page));
  return part(
    store,
    "pipelines",
    "Pipelines",
    table(`Pipelines of ${store.title}`, ["Pipeline", "State", "In hand", "Change"], rows),
  );
}

function pipeline(store, name, page) {
  const pause = store.pauses.find((one) => one.pipeline === name);
  const label = words.sentence(words.named(name));
  const turn = pause
    ? button("Resume", () => deeds.resume(store.store, name, page.tell), {
        "aria-label": `Resume ${words.named(name)} of ${store.title}`,
      })
    : button("Pause", () => deeds.pause(store.store, name, page.tell), {
        "aria-label": `Pause ${words.named(name)} of ${store.title}`,
      });
  return {
    key: name,
    cells: [name === "*" ? element("b", {}, label) : label, paused(store, name, pause), inHand(store, name), turn],
  };
}

function paused(store, name, pause) {
  if (pause) {
    const until = pause.until ? `until ${words.at(pause.until)}` : "until somebody resumes it";
    return [tag("warn", "paused"), ` by ${pause.who} since ${words.at(pause.since)}, ${until}: ${pause.why}`];
  }
  const whole = store.pauses.some((one) => one.pipeline === "*");
  return whole && name !== "*" ? tag("warn", "paused with all") : "not paused";
}

function inHand(store, name) {
  const all = store.replicas.flatMap((one) => Object.entries(one.in_flight));
  return words.count(all.reduce((sum, [key, value]) => sum + (name === "*" || key === name ? value : 0), 0));
}

/** The replicas of a store, with what each says of itself and of its peers. */
export function replicas(store) {
  const columns = ["Replica", "State", "In hand", "Sent", "Relay's last reply", "Callback's last answer"];
  const rows = store.replicas.map(replica);
  const body = rows.length
    ? table(`Replicas of ${store.title}`, columns, rows)
    : element("p", {}, "None has reported within the last day.");
  return part(store, "replicas", "Replicas", body);
}

function replica(one) {
  const busy = Object.values(one.in_flight).reduce((sum, value) => sum + value, 0);
  return {
    key: one.name,
    cells: [
      [element("span", { class: "id" }, one.name), element("span", { class: "faint" }, ` ${one.version}`)],
      [state(one), ...ails(one)],
      words.count(busy),
      words.rate(one.rates.sent ?? 0),
      said(one.relay),
      said(one.callback),
    ],
  };
}

function state(one) {
  if (one.stopped) return tag("plain", "stopped");
  if (one.silent) return tag("bad", `silent for ${words.span(Math.round(one.age_s))}`);
  return one.draining ? tag("plain", "draining") : tag("good", "works");
}

function ails(one) {
  const away = Object.entries(one.away).map(([name, { since, reason }]) =>
    element(
      "p",
      { class: "ails" },
      tag("bad", `${name} away`),
      ` since ${words.clock(since)}: ${reason || "no reason given"}`,
    ),
  );
  const slowed = one.rate_reason
    ? element("p", { class: "ails" }, tag("warn", "slowed"), ` to ${words.rate(one.rate)}: ${one.rate_reason}`)
    : null;
  return [...away, slowed];
}

function said(answer) {
  return answer ? [answer.text, element("span", { class: "faint" }, ` ${words.clock(answer.at)}`)] : "none yet";
}

function part(store, name, heading, body) {
  const id = `${store.store}-${name}`;
  return element(
    "section",
    { "data-key": id, "aria-labelledby": id },
    element("h3", { id, tabindex: -1 }, heading),
    body,
  );
}
