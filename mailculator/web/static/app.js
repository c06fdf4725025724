// Starts the page: signs in, follows the service, and shows the view that the address asks for.

import * as api from "./api.js";
import { auditView } from "./audit.js";
import { element, render } from "./dom.js";
import { emailView } from "./email.js";
import { emailsView } from "./emails.js";
import { findView } from "./find.js";
import { Live } from "./live.js";
import { overviewView } from "./overview.js";
import { draw } from "./plots.js";
import { parse } from "./routes.js";
import * as shell from "./shell.js";
import { signInView } from "./signin.js";

// A view is `title()`, `nodes()`, and where it needs them `load()` once, `followed()` upon each overview, and
// `target()`, the element that the reader is put at.
const VIEWS = { overview: overviewView, emails: emailsView, email: emailView, find: findView, audit: auditView };

const main = document.getElementById("main");
const announcer = new shell.Announcer();
const live = new Live(heard);
let route = parse(window.location.hash);
let view = null;
let arriving = false;
let waiting = [];

/** What the views are given of the page. */
const page = {
  live,
  session: null,
  redraw,
  tell: shell.tell,
  signedIn,
  signOut,
  stores: () => live.overview?.stores ?? [],
  known: () => (live.overview ? Promise.resolve(page.stores()) : new Promise((resolve) => waiting.push(resolve))),
};

function heard() {
  if (live.overview && live.lostSince === null) {
    announcer.hear(live.overview);
    for (const resolve of waiting.splice(0)) resolve(page.stores());
    view?.followed?.();
  }
  if (live.lostSince !== null) checkSession();
  if (!document.hidden) redraw();
  else if (view) shell.titled(view.title(), live); // a tab in the background tells by its title
}

function redraw() {
  if (!view) return;
  shell.header(route, page);
  shell.connection(live);
  shell.titled(view.title(), live);
  render(main, view.nodes());
  draw(main);
  if (arriving) arrive();
}

// The reader is put at the new view's heading, or at the part that the address names, as soon as that is there.
function arrive() {
  const target = view.target ? view.target() : null;
  const found = target ?? main.querySelector("h1");
  if (!found) return;
  arriving = false;
  found.focus({ preventScroll: true });
  if (target) target.scrollIntoView();
  else window.scrollTo(0, 0);
}

function show() {
  route = parse(window.location.hash);
  view = page.session.signed_in ? VIEWS[route.view](route, page) : signInView(page);
  arriving = true;
  redraw();
  view.load?.();
}

function signedIn(session) {
  page.session = session;
  shell.footer(session);
  live.start();
  show();
}

async function signOut() {
  try {
    await api.signOut();
  } catch (error) {
    shell.tell(error.message);
    return;
  }
  signedOut();
}

function signedOut() {
  if (!page.session?.signed_in) return;
  live.stop();
  page.session = { ...page.session, signed_in: false, name: null };
  shell.tell(null);
  show();
}

// The stream does not tell why it ended: the session may have.
async function checkSession() {
  try {
    const session = await api.session();
    if (!session.signed_in) signedOut();
  } catch {
    return; // not heard either; the stream is asked for again anyway
  }
}

async function start() {
  try {
    const session = await api.session();
    if (session.signed_in) return signedIn(session);
    page.session = session;
    shell.footer(session);
    show();
  } catch (error) {
    render(main, element("h1", {}, "No answer"), element("p", { role: "alert" }, `${error.message} Trying again.`));
    setTimeout(start, 2000);
  }
}

document.getElementById("skip").onclick = (event) => {
  event.preventDefault(); // the address says which view it is
  main.focus();
};
// To the part that the address names already: the reader has scrolled away from it.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  if (!link?.hash || link.hash !== window.location.hash) return;
  arriving = true;
  arrive();
});
window.addEventListener("hashchange", () => {
  if (!page.session) return;
  shell.tell(null);
  show();
});
window.addEventListener("signed-out", signedOut);
window.addEventListener("resize", redraw);
document.addEventListener("visibilitychange", () => !document.hidden && redraw());
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
start();
