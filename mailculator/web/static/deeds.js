// What an operator does, each through a dialog: actions on emails, pauses and their ends.

import * as api from "./api.js";
import { ask, field } from "./dialog.js";
import { element } from "./dom.js";
import * as words from "./words.js";

const LENGTHS = [
  ["900", "15 minutes"],
  ["3600", "1 hour"],
  ["14400", "4 hours"],
  ["", "until somebody resumes it"],
  ["time", "until a time"],
];

/**
 * An action on emails, after a look at how many it concerns.
 *
 * @param {Object} deed `{action, label, sends_mail, warning, undo}`
 * @param {string} whom the emails in words: `this email`, `the 3 selected emails`
 * @param {Object} target {ids} or {filter}
 * @param {Function} done called with a sentence once it is done
 */
export function act(store, deed, whom, target, done) {
  const body = explained(deed);
  const open = ask({
    title: `${deed.label}: ${whom}`,
    body,
    confirm: deed.label,
    run: (form, progress) => carriedOut(store, deed, target, form, progress),
    told: done,
  });
  if (target.ids?.length === 1) return;
  foreseen(store, deed, target).then((sentence) => open.explain(body, element("p", { class: "foreseen" }, sentence)));
}

function explained(deed) {
  return [
    element("p", {}, deed.warning),
    element(
      "p",
      { class: deed.sends_mail ? "sends" : "" },
      deed.sends_mail ? "This sends mail." : "This sends no mail.",
    ),
    element("p", {}, deed.undo ? `To undo it: ${deed.undo}` : "It cannot be undone."),
  ];
}

async function foreseen(store, deed, target) {
  try {
    const found = await api.act(store, deed.action, target, "a look beforehand", true);
    const rest = found.not_applicable ? `; it does not apply to ${words.count(found.not_applicable)} more` : "";
    return `It concerns ${found.more ? "at least " : ""}${words.emails(found.done)}${rest}.`;
  } catch (error) {
    return `How many it concerns is not known: ${error.message}`;
  }
}

// By filter the service does up to a thousand at a time, and says where it goes on.
async function carriedOut(store, deed, target, form, progress) {
  let [done, others, missing] = [0, 0, 0];
  for (let next = target; next && !form.stopped;) {
    const found = await api.act(store, deed.action, next, form.why);
    done += found.done;
    others += found.not_applicable;
    missing += found.missing;
    next = found.more ? { ...target, after: found.next } : null;
    progress(`${words.emails(done)} so far`);
  }
  const parts = [
    `${deed.label}: done for ${words.emails(done)}`,
    others && `it did not apply to ${words.count(others)}`,
    missing && `${words.count(missing)} were not there any more`,
    form.stopped && "then stopped",
  ];
  return `${parts.filter(Boolean).join("; ")}.`;
}

/** Pause a pipeline of all replicas, or "*" for all pipelines. */
export function pause(store, pipeline, done) {
  const until = element("input", {
    id: "until",
    name: "until",
    type: "datetime-local",
    "aria-describedby": "until-zone",
  });
  const when = element(
    "div",
    { hidden: true },
    field("until", "Until (UTC)", until),
    element("p", { id: "until-zone", class: "faint" }, `It is ${words.at(new Date())} now.`),
  );
  const choose = (event) => {
    when.hidden = event.target.value !== "time";
    until.required = !when.hidden;
  };
  const length = element(
    "select",
    { id: "length", name: "length", onchange: choose },
    LENGTHS.map(([value, label]) => element("option", { value }, label)),
  );
  ask({
    title: `Pause ${words.named(pipeline)} of ${words.title(store)}`,
    body: [
      element(
        "p",
        {},
        "Every replica stops taking mail up there within a few seconds. What it has in hand is finished first.",
      ),
      element("p", {}, "This sends no mail."),
      element("p", {}, "To undo it: resume."),
    ],
    fields: [field("length", "How long", length), when],
    confirm: "Pause",
    run: async (form) => {
      await api.pause(store, pipeline, seconds(form), form.why);
      return `${words.sentence(words.named(pipeline))} of ${words.title(store)} paused.`;
    },
    told: done,
  });
}

function seconds({ length, until }) {
  if (length === "") return null;
  if (length !== "time") return Number(length);
  const left = (Date.parse(`${until}Z`) - Date.now()) / 1000;
  if (!(left > 0)) throw new Error("That time is over already.");
  return left;
}

/** End a pause. */
export function resume(store, pipeline, done) {
  ask({
    title: `Resume ${words.named(pipeline)} of ${words.title(store)}`,
    body: [
      element("p", {}, "Every replica takes mail up there again within a few seconds."),
      element("p", { class: "sends" }, "What waits is sent and called back as usual."),
      element("p", {}, "To undo it: pause again; what was sent meanwhile cannot be called back."),
    ],
    confirm: "Resume",
    run: async (form) => {
      await api.resume(store, pipeline, form.why);
      return `${words.sentence(words.named(pipeline))} of ${words.title(store)} resumed.`;
    },
    told: done,
  });
}
