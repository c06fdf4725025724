// Times and amounts as an operator reads them; the command line says them alike (mailculator/words.py).

const TITLES = { dynamodb: "DynamoDB", mysql: "MariaDB", sqlite: "SQLite" };
const HALF_A_DAY = 12 * 3600 * 1000; // ms
const COUNTS = new Intl.NumberFormat("en-GB");

/** What people call a store. */
export function title(store) {
  return TITLES[store] ?? store;
}

/** A length of time in seconds: `42 s`, `3 min`, `5.1 h`, `2.0 d`. */
export function span(seconds) {
  if (seconds < 10 && !Number.isInteger(seconds)) return `${seconds.toFixed(1)} s`;
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 129600 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} d`;
}

/** A moment in UTC, to the second: with its day. Takes a Date or RFC 3339 text; "" where there is none. */
export function at(when) {
  const moment = when ? new Date(when) : null;
  if (!moment || Number.isNaN(moment.getTime())) return "";
  return `${moment.toISOString().slice(0, 19).replace("T", " ")}Z`;
}

/** The same without the day where that was within the last half day. */
export function clock(when) {
  return Math.abs(Date.now() - new Date(when)) < HALF_A_DAY ? at(when).slice(11) : at(when);
}

/** A number with its thousands apart. */
export function count(number) {
  return COUNTS.format(number);
}

/** `1 email`, `2 emails`. */
export function emails(number) {
  return number === 1 ? "1 email" : `${count(number)} emails`;
}

/** A pace in emails a second: `12/s`, `0.4/s`. */
export function rate(perSecond) {
  if (perSecond === 0 || perSecond >= 9.95) return `${count(Math.round(perSecond))}/s`;
  return `${perSecond.toFixed(perSecond < 0.095 ? 2 : 1)}/s`;
}

/** When a store's backlog will be gone. */
export function untilEmpty(store) {
  if (store.backlog === 0) return "nothing to do";
  if (store.seconds_to_empty === null) return "does not get smaller at this pace";
  return `empty in about ${span(Math.ceil(store.seconds_to_empty))}`;
}

/** A pipeline, or all of them, in a sentence. */
export function named(pipeline) {
  return pipeline === "*" ? "all pipelines" : pipeline;
}

/** A sentence from a clause. */
export function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
