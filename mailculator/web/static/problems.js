// What is wrong, in words, each linking to where it is seen.

import { element } from "./dom.js";
import { listAt, overviewAt } from "./routes.js";
import * as words from "./words.js";

const SEVERITIES = { critical: "Critical", warning: "Warning", info: "Note" };
const PARTS = {
  paused: "pipelines",
  stopped: "pipelines",
  silent: "replicas",
  no_replica: "replicas",
  throttled: "replicas",
};

/** The first part of the overview. */
export function problems(overview) {
  const found = overview.problems;
  const wrong = found.some(isWrong);
  return element(
    "section",
    { class: "wrong", "aria-labelledby": "wrong", "data-key": "problems" },
    element("h2", { id: "wrong" }, wrong ? "What is wrong" : "All is well"),
    wrong ? null : element("p", { class: "well" }, wellness(overview)),
    found.length
      ? element(
          "ul",
          { class: "problems" },
          named(found).map(([key, problem]) => item(key, problem)),
        )
      : null,
  );
}

// What an operator has paused is no fault, but mail may stand still because of it.
function wellness({ problems: notes, at }) {
  return `${notes.length ? "Nothing is wrong" : "Mail flows, and nothing stands out"}, as of ${words.clock(at)}.`;
}

/** Whether a problem is one, and not what an operator wants. */
export function isWrong(problem) {
  return problem.severity !== "info";
}

/** Which problems there are, apart from the figures in them: `[key, problem]`. */
export function named(found) {
  const seen = new Map();
  return found.map((problem) => {
    const name = [problem.store, problem.kind, problem.status].join(" ");
    const number = (seen.get(name) ?? 0) + 1;
    seen.set(name, number);
    return [`${name} ${number}`, problem];
  });
}

function item(key, problem) {
  const { severity } = problem;
  return element(
    "li",
    { class: `problem ${severity}`, "data-key": key },
    element("span", { class: "severity" }, SEVERITIES[severity] ?? severity),
    element("div", {}, element("a", { href: address(problem) }, problem.text), advice(problem)),
  );
}

// Advice that is a command is for whoever sits at a terminal: here, the link leads to the same.
function advice({ advice: text }) {
  if (!text) return null;
  return element(
    "p",
    { class: "advice" },
    text.startsWith("mailculator ") ? ["On the command line: ", element("code", {}, text)] : text,
  );
}

function address({ store, kind, status, parked, unknown }) {
  if (PARTS[kind]) return overviewAt(store, PARTS[kind]);
  if (status || unknown) return listAt(store, { status, parked: parked ? 1 : null, unknown: unknown ? 1 : null });
  return overviewAt(store, null);
}
