// An exact id, looked for in every store.

import * as api from "./api.js";
import { element } from "./dom.js";
import { emailAt } from "./routes.js";

/** The view behind `#/find?id=…`: leads to the email where one store has it, and says where where several have. */
export function findView(route, page) {
  const { id } = route;
  let lines = null;

  async function load() {
    const stores = await page.known();
    const answers = await Promise.all(stores.map((store) => looked(store, id)));
    const having = answers.filter((answer) => answer.there);
    if (having.length === 1 && answers.every((answer) => answer.refused === null)) {
      window.location.replace(emailAt(having[0].store.store, id));
      return;
    }
    lines = answers;
    page.redraw();
  }

  const nodes = () => [
    element("h1", { tabindex: -1 }, "Find ", element("span", { class: "id" }, id)),
    element(
      "div",
      { role: "status" },
      lines === null ? element("p", { class: "faint" }, "Looking…") : lines.map((one) => answer(one, id)),
    ),
  ];
  return { title: () => `Find ${id}`, nodes, load };
}

function answer({ store, there, refused }, id) {
  if (there) return element("p", {}, element("a", { href: emailAt(store.store, id) }, `${store.title} has it`));
  return element("p", {}, refused ? `${store.title}: ${refused}` : `${store.title} has no email with this id.`);
}

async function looked(store, id) {
  try {
    await api.email(store.store, id);
    return { store, there: true, refused: null };
  } catch (error) {
    return { store, there: false, refused: error.status === 404 ? null : error.message };
  }
}
