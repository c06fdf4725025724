// The service's API (openapi.json): who is signed in, and everything the views ask for or want done.

import { searchOf } from "./routes.js";

/** The service refused, or could not be reached (status 0). Its message is a sentence for people. */
export class ApiError extends Error {
  constructor(status, message, field = null) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

let csrf = null;

/** Who is signed in, and what signing in takes. */
export async function session() {
  return remembered(await call("GET", "/api/session"));
}

/** Sign in under a name; the token only where one is needed. */
export async function signIn(name, token) {
  return remembered(await call("POST", "/api/session", token ? { name, token } : { name }));
}

/** End the session. */
export function signOut() {
  return call("DELETE", "/api/session");
}

/** A page of a list; `filter` as in routes.listAt. */
export function emails(store, filter) {
  return call("GET", `/api/stores/${encodeURIComponent(store)}/emails${searchOf(filter)}`);
}

/** An email with its history and the reasons why it stands where it stands. */
export function email(store, id) {
  return call("GET", `/api/stores/${encodeURIComponent(store)}/emails/${encodeURIComponent(id)}`);
}

/** Have something done; `target` is {ids} or {filter}. */
export function act(store, action, target, why, dryRun = false) {
  return call("POST", `/api/stores/${encodeURIComponent(store)}/actions`, { action, ...target, why, dry_run: dryRun });
}

/** Pause a pipeline, or "*" for all of them; seconds null = until it is resumed. */
export function pause(store, pipeline, seconds, why) {
  return call("POST", `/api/stores/${encodeURIComponent(store)}/pauses`, { pipeline, seconds, why });
}

/** End the pause of that name. */
export function resume(store, pipeline, why) {
  return call("DELETE", `/api/stores/${encodeURIComponent(store)}/pauses/${encodeURIComponent(pipeline)}`, { why });
}

/** A page of the audit list. */
export function audit(store, after) {
  return call("GET", `/api/stores/${encodeURIComponent(store)}/audit${searchOf({ after })}`);
}

function remembered(found) {
  csrf = found.csrf;
  return found;
}

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (method !== "GET" && csrf) headers["X-CSRF-Token"] = csrf;
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new ApiError(0, "The service does not answer. Nothing is known of whether it heard this.");
  }
  const found = await documentOf(answer);
  if (answer.ok) return found;
  if (answer.status === 401 && path !== "/api/session") window.dispatchEvent(new Event("signed-out"));
  throw new ApiError(
    answer.status,
    found?.detail || found?.title || `The service answered ${answer.status}.`,
    found?.field,
  );
}

async function documentOf(answer) {
  try {
    return await answer.json();
  } catch {
    return null; // 204, or a gateway's own page
  }
}
