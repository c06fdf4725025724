// What stands behind the #: each view has an address that can be sent to a colleague.
//
//   #/                                   the overview
//   #/mysql, #/mysql/pipelines, …        the same, from that part on
//   #/mysql/emails?status=READY&parked=1 a list
//   #/mysql/emails/550e8400-…            an email
//   #/mysql/audit                        what operators did
//   #/find?id=550e8400-…                 that id in every store

export const PARTS = ["pipelines", "replicas"];

/** The view that a hash asks for: `{view, store, part, id, query}`; what is no address leads to the overview. */
export function parse(hash) {
  const [path, search = ""] = hash.replace(/^#\/?/, "").split(/\?(.*)/s);
  const [store, second, third] = path.split("/").map(decoded);
  const query = new URLSearchParams(search);
  const of = (view, more = {}) => ({ view, store: store || null, part: null, id: null, query, ...more });
  if (store === "find") return of("find", { store: null, id: query.get("id") ?? "" });
  if (second === "emails") return third ? of("email", { id: third }) : of("emails");
  if (second === "audit") return of("audit");
  return of("overview", { part: PARTS.includes(second) ? second : null });
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // a bare % that somebody typed
  }
}

/** The address of the overview, or of a part of it. */
export function overviewAt(store = null, part = null) {
  return `#/${[store, part].filter(Boolean).map(encodeURIComponent).join("/")}`;
}

/** The address of a list. `filter` may hold status, parked, unknown, domain and after; empty ones are left out. */
export function listAt(store, filter = {}) {
  return `#/${encodeURIComponent(store)}/emails${searchOf(filter)}`;
}

/** The address of an email. */
export function emailAt(store, id) {
  return `#/${encodeURIComponent(store)}/emails/${encodeURIComponent(id)}`;
}

/** The address of a store's audit list. */
export function auditAt(store, after = null) {
  return `#/${encodeURIComponent(store)}/audit${searchOf({ after })}`;
}

/** The address of the search for an id. */
export function findAt(id) {
  return `#/find${searchOf({ id })}`;
}

/** `?name=value…`, or "". */
export function searchOf(values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `?${new URLSearchParams(kept)}` : "";
}
