// Who is at the desk: the name goes with everything that is done, the token only where the service wants one.

import * as api from "./api.js";
import { field } from "./dialog.js";
import { element } from "./dom.js";

/** What stands there until somebody has signed in. */
export function signInView(page) {
  let refused = null;

  async function send(event) {
    event.preventDefault();
    const { name, token } = Object.fromEntries(new FormData(event.target));
    try {
      page.signedIn(await api.signIn(name.trim(), token));
    } catch (error) {
      refused = error.message;
      page.redraw();
      document.getElementById(error.field ?? (page.session.token_needed ? "token" : "name"))?.focus();
    }
  }

  const nodes = () =>
    element(
      "form",
      { class: "signin", onsubmit: send, "data-key": "signin" },
      element("h1", { tabindex: -1 }, "Sign in"),
      element("p", {}, "Your name stands beside everything that you do here."),
      field(
        "name",
        "Name",
        element("input", { id: "name", name: "name", required: true, maxlength: 60, autocomplete: "username" }),
      ),
      page.session.token_needed
        ? field(
            "token",
            "Token (MAILCULATOR_ADMIN_TOKEN)",
            element("input", {
              id: "token",
              name: "token",
              type: "password",
              required: true,
              autocomplete: "current-password",
            }),
          )
        : null,
      element("p", { class: "refused", role: "alert" }, refused),
      element("button", { class: "primary", type: "submit" }, "Sign in"),
    );
  return { title: () => "Sign in", nodes };
}
