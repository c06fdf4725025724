// The statuses, as far as the page needs to know them; a test holds them against mailculator/lifecycle.py. What can be
// done in which, the service says.

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
export const WAITING = new Set(["ACCEPTED", "READY", "SENT", "FAILED"]);
export const WORKING = new Set(["INTAKING", "PROCESSING", "CALLING-SENT-CALLBACK", "CALLING-FAILED-CALLBACK"]);
export const TERMINAL = new Set(["INVALID", "SENT-ACKNOWLEDGED", "FAILED-ACKNOWLEDGED"]);
