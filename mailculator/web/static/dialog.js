// The one dialog: what will be done, whether mail is sent, how it is undone, why it is done, and then the result.

import { element, render } from "./dom.js";

const FOCUSABLE = "button:not(:disabled), input:not(:disabled), select:not(:disabled), a[href]";

/**
 * Ask for a reason and a confirmation.
 *
 * @param {Object} question
 *   title: what will be done
 *   body: nodes that explain it
 *   fields: nodes with further inputs
 *   confirm: the label of the button that does it
 *   run: async (form, progress) => what came of it, as a sentence; what it throws is shown, and the dialog stays.
 *     progress(text) tells how far it came; `form` has the values, `form.stopped` says that the reader gave up
 *   told: is given that sentence
 */
export function ask({ title, body = [], fields = [], confirm, run, told }) {
  const problem = element("p", { class: "refused", role: "alert" });
  const progress = element("p", { class: "progress", role: "status" });
  const reason = element("input", { id: "why", name: "why", required: true, maxlength: 500, autocomplete: "off" });
  const doIt = element("button", { class: "primary", type: "submit" }, confirm);
  const dismiss = element("button", { type: "button", onclick: () => close() }, "Do nothing");
  const form = element(
    "form",
    { method: "dialog" },
    element("h2", { id: "dialog-title" }, title),
    element("div", { id: "dialog-body" }, body),
    fields,
    field("why", "Why (kept with your name)", reason),
    problem,
    progress,
    element("div", { class: "buttons" }, doIt, dismiss),
  );
  const dialog = element("dialog", { "aria-labelledby": "dialog-title", "aria-describedby": "dialog-body" }, form);
  const asked = { stopped: false };

  function close() {
    asked.stopped = true;
    dialog.close();
  }

  form.onsubmit = async (event) => {
    event.preventDefault();
    if (doIt.disabled) return;
    doIt.disabled = true;
    render(dismiss, "Stop");
    render(problem);
    try {
      const values = Object.fromEntries(new FormData(form));
      Object.assign(asked, values, { why: values.why.trim() });
      const sentence = await run(asked, (text) => render(progress, text));
      dialog.close();
      told(sentence);
    } catch (error) {
      if (!dialog.open) return told(error.message);
      render(problem, error.message);
      render(progress);
      render(dismiss, "Close");
      doIt.disabled = false;
    }
  };
  dialog.onkeydown = (event) => keepInside(dialog, event);
  dialog.oncancel = () => (asked.stopped = true); // Escape
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
  (dialog.querySelector("select, input") ?? doIt).focus();
  return { explain: (...more) => render(dialog.querySelector("#dialog-body"), ...more) };
}

/** A labelled input. */
export function field(id, label, input) {
  return element("p", { class: "field" }, element("label", { for: id }, label), input);
}

// A modal dialog lets the Tab key out to the browser's own buttons: here it goes round.
function keepInside(dialog, event) {
  if (event.key !== "Tab") return;
  const stops = [...dialog.querySelectorAll(FOCUSABLE)];
  const [first, last] = [stops[0], stops.at(-1)];
  const leaving = event.shiftKey ? document.activeElement === first : document.activeElement === last;
  if (!leaving) return;
  event.preventDefault();
  (event.shiftKey ? last : first).focus();
}
