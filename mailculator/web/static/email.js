// An email's own page: why it stands where it stands, what can be done, and every step that it made.

import * as api from "./api.js";
import * as deeds from "./deeds.js";
import { element } from "./dom.js";
import { marks } from "./emails.js";
import { TERMINAL, WAITING, WORKING } from "./lifecycle.js";
import { button, moment, table } from "./parts.js";
import { listAt } from "./routes.js";
import * as words from "./words.js";

const EVERY = 2000; // ms between two looks at an email that is on its way

/** The view behind `#/mysql/emails/ID`. It follows the email until that is done. */
export function emailView(route, page) {
  const { store, id } = route;
  let email = null;
  let refused = null;
  let looked = 0;
  let looking = false;

  async function load() {
    if (looking) return;
    looking = true;
    try {
      ({ email } = await api.email(store, id));
      refused = null;
    } catch (error) {
      refused = error.status === 404 ? `${words.title(store)} has no such email.` : error.message;
    }
    looking = false;
    looked = Date.now();
    page.redraw();
  }

  function followed() {
    if (email && !document.hidden && !TERMINAL.has(email.status) && Date.now() - looked > EVERY) load();
  }

  function done(sentence) {
    page.tell(sentence);
    load();
  }

  const nodes = () => [
    element("p", { class: "faint" }, `Email of ${words.title(store)}`),
    element("h1", { class: "id", tabindex: -1 }, id),
    refused ? element("p", { class: "refused", role: "alert", "data-key": "refused" }, refused) : null,
    email ? whole() : refused ? null : element("p", { class: "faint" }, "Looking…"),
  ];

  const whole = () => [reasons(email), email.actions.length ? doable() : null, facts(store, email), steps(email)];

  function doable() {
    const act = (deed) =>
      button(`${deed.label}…`, () => deeds.act(store, deed, "this email", { ids: [id] }, done), {
        "data-key": deed.action,
      });
    return element(
      "div",
      { class: "bar", role: "group", "aria-label": "Actions", "data-key": "actions" },
      email.actions.map(act),
    );
  }

  return { title: () => `Email ${id}`, nodes, load, followed };
}

function reasons(email) {
  return element(
    "section",
    { class: "why", "data-key": "why", "aria-labelledby": "why-heading" },
    element(
      "h2",
      { id: "why-heading" },
      `${email.status}: why`,
      marks(email).map((mark) => [" ", mark]),
    ),
    email.why.map((sentence) => element("p", {}, sentence)),
  );
}

function facts(store, email) {
  const lines = [
    ["Status", element("a", { href: listAt(store, { status: email.status }) }, email.status)],
    ["Recipient's domain", email.recipient_domain],
    ["Tries at this stage", email.attempts],
    ["Version", email.version],
    ["Send generation", email.generation],
    ["Created", moment(email.created_at)],
    ["Updated", moment(email.updated_at)],
    ["Next try", WAITING.has(email.status) && !email.parked ? moment(email.due_at) : null],
    [WORKING.has(email.status) ? "Held by" : "Last held by", email.claimed_by],
    ["Lease until", email.lease_until && moment(email.lease_until)],
    ["Sent or failed", email.reached_at && moment(email.reached_at)],
    ["Reason", email.reason],
    ["Last error", email.last_error],
    ["Cancelled", email.cancelled],
    ["Payload", email.payload_file_path],
    ["EML file", email.eml_file_path],
    ["Not sent after", email.ttl === null ? null : moment(expiry(email.ttl))],
  ];
  const known = lines.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return element(
    "section",
    { "data-key": "facts", "aria-labelledby": "facts-heading" },
    element("h2", { id: "facts-heading" }, "What stands in the store"),
    element(
      "dl",
      { class: "facts" },
      known.map(([name, value]) =>
        element("div", { "data-key": name }, element("dt", {}, name), element("dd", {}, value)),
      ),
    ),
  );
}

// The ttl is epoch seconds, which a producer may have put beyond what a date can say.
function expiry(ttl) {
  const at = new Date(Number(ttl) * 1000);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

function shown(value) {
  return value === null ? "–" : String(value);
}

function steps({ history }) {
  const rows = history.map((entry, number) => ({
    key: String(number),
    cells: [moment(entry.at), entry.status, shown(entry.version), shown(entry.attempt), shown(entry.note)],
  }));
  return element(
    "section",
    { "data-key": "steps", "aria-labelledby": "steps-heading" },
    element("h2", { id: "steps-heading" }, "Every step"),
    table("Steps of this email, oldest first", ["Time", "Status", "Version", "Attempt", "Note"], rows),
  );
}
