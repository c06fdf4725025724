// Nodes from data. Whatever comes from the server becomes text or the value of an attribute, never markup: nothing in
// these files parses HTML.

const HANDLERS = ["onclick", "onchange", "oninput", "onsubmit"];
const OWNED_BY_THE_READER = new Set(["open", "value"]);
const SVG = "http://www.w3.org/2000/svg";

/**
 * An element with its attributes and children.
 *
 * @param {string} name of the tag
 * @param {Object} attributes `onclick` and the like take a function; true sets an empty attribute; null and false none
 * @param {...*} children nodes, text, numbers, or lists of these; null and false are left out
 */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same for SVG. */
export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (HANDLERS.includes(name)) node[name] = value;
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...nodes(children));
  return node;
}

function nodes(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}

/**
 * Make `container` hold these children, and change as little as possible for it: what stays keeps its focus, its
 * selection and whatever the reader typed or unfolded. Elements with `data-key` are recognised by it, others by their
 * place. What is inside an element with `data-kept` is somebody else's.
 */
export function render(container, ...children) {
  patch(container, nodes(children));
}

function patch(parent, wanted) {
  const keys = new Set(wanted.map(keyOf).filter(Boolean));
  const known = new Map();
  for (const old of [...parent.childNodes]) {
    const key = keyOf(old);
    if (key && !keys.has(key)) old.remove();
    else if (key) known.set(key, old);
  }
  let place = parent.firstChild;
  for (const fresh of wanted) {
    const old = keyOf(fresh) ? known.get(keyOf(fresh)) : place;
    if (!old || !alike(old, fresh)) {
      parent.insertBefore(fresh, place);
      continue;
    }
    if (old === place) place = place.nextSibling;
    else parent.insertBefore(old, place);
    update(old, fresh);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function alike(old, fresh) {
  return old.nodeName === fresh.nodeName && keyOf(old) === keyOf(fresh);
}

function update(old, fresh) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !OWNED_BY_THE_READER.has(name) && !old.hasAttribute("data-kept")) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (!OWNED_BY_THE_READER.has(name) && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) {
    if (old[name] !== fresh[name]) old[name] = fresh[name];
  }
  if (!fresh.hasAttribute("data-kept")) patch(old, [...fresh.childNodes]);
}
