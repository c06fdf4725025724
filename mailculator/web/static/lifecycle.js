// The status machine as far as the page needs it: where a status stands in the flow, and what an operator can do in it.

export const STAGES = [
  { name: "intake", waiting: "ACCEPTED", working: "INTAKING" },
  { name: "sender", waiting: "READY", working: "PROCESSING" },
  { name: "sent-callback", waiting: "SENT", working: "CALLING-SENT-CALLBACK" },
  { name: "failed-callback", waiting: "FAILED", working: "CALLING-FAILED-CALLBACK" },
];

export const STATUSES = [
  "ACCEPTED",
  "INTAKING",
  "INVALID",
  "READY",
  "PROCESSING",
  "SENT",
  "CALLING-SENT-CALLBACK",
  "SENT-ACKNOWLEDGED",
  "FAILED",
  "CALLING-FAILED-CALLBACK",
  "FAILED-ACKNOWLEDGED",
];
export const WAITING = new Set(STAGES.map((stage) => stage.waiting));
export const WORKING = new Set(STAGES.map((stage) => stage.working));
export const TERMINAL = new Set(["INVALID", "SENT-ACKNOWLEDGED", "FAILED-ACKNOWLEDGED"]);
const UNSENT = new Set(["ACCEPTED", "INTAKING", "READY", "PROCESSING"]);
const REQUEUES = { INVALID: "ACCEPTED", FAILED: "READY", "FAILED-ACKNOWLEDGED": "READY", "SENT-ACKNOWLEDGED": "SENT" };

/**
 * What can be done with emails of a status, parked or not (null = some may be): `{action, label, sends_mail, warning,
 * undo}`, as the server describes it for a single email. What one of these does not apply to is left alone, and told.
 */
export function actions(status, parked) {
  const sends = UNSENT.has(status);
  return [
    REQUEUES[status] && requeue(status),
    WAITING.has(status) && parked !== true && retry(sends),
    WAITING.has(status) && parked !== true && PARK,
    WAITING.has(status) && parked !== false && release(sends),
    sends && CANCEL,
  ].filter(Boolean);
}

function requeue(status) {
  if (!UNSENT.has(REQUEUES[status])) {
    return deed("requeue", "Requeue", false, "Their producer is told once more that they were sent. No mail is sent.");
  }
  const what =
    status === "INVALID"
      ? "Their payloads are read anew, and they are sent if they can be now."
      : "They are sent anew.";
  return deed(
    "requeue",
    "Requeue",
    true,
    what,
    "Cancel them before they are sent; what has left cannot be called back.",
  );
}

function retry(sends) {
  const what = sends ? "They are worked on and sent" : "Their callbacks are made";
  return deed("retry", "Retry now", sends, `${what} now instead of at their time. Their tries and their age stay.`);
}

function release(sends) {
  const what = sends ? "They go on to be sent" : "Their callbacks are made";
  return deed("release", "Release", sends, `${what} at once, and their tries are counted anew.`, "Park them again.");
}

const PARK = deed("park", "Park", false, "Nobody works on them until they are released.", "Release them.");
const CANCEL = deed(
  "cancel",
  "Cancel",
  false,
  "They will not be sent, and their producer is told that they failed. What is just leaving may be sent all the same.",
  "Requeue them, once they are FAILED.",
);

function deed(action, label, sends, warning, undo = "") {
  return { action, label, sends_mail: sends, warning, undo };
}
