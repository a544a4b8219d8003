// The only place that makes elements. Data becomes text, never markup.

export const byID = (id) => document.getElementById(id);

// el makes an element with properties and children; a child that is a string becomes text. Null children are left out.
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);

  for (const [name, value] of Object.entries(properties)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("data-") || name.startsWith("aria-") || name === "scope" || name === "role") node.setAttribute(name, value);
    else node[name] = value;
  }

  node.append(...children.flat().filter((child) => child !== null && child !== undefined));

  return node;
}

// setText changes text only where it differs, so that a screen reader is not told twice and a selection stays.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// say shows a text in a line that is hidden without one.
export function say(node, text) {
  setText(node, text || "");
  node.hidden = !text;
}

export const row = (...cells) => el("tr", {}, cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : el("td", {}, cell ?? ""))));

// reconcile makes the rows of a table those of the items, and touches none that stays as it is: whoever is about to press a
// key or a button there would miss it.
export function reconcile(table, items, make) {
  const body = table.tBodies[0];
  const keys = items.map((item) => JSON.stringify(item));
  const wanted = new Set(keys);

  for (const node of [...body.rows]) if (!wanted.has(node.dataset.key)) node.remove();

  items.forEach((item, i) => {
    if (body.rows[i]?.dataset.key === keys[i]) return;

    [...body.rows].find((node) => node.dataset.key === keys[i])?.remove();

    const node = make(item);
    node.dataset.key = keys[i];
    body.insertBefore(node, body.rows[i] ?? null);
  });
}

// rows replaces the body of a table, if what it shows has changed.
export function rows(table, key, make) {
  const body = table.tBodies[0];
  if (body.dataset.key === key) return;

  body.dataset.key = key;
  body.replaceChildren(...make());
}

const closings = new WeakMap(); // what to do when a dialog is closed

// openDialog shows a dialog; onClose is called once, when it is closed, at the latest when it is opened again: the browser
// tells of a closing later than it happens, and the same dialog may be open for something else by then.
export function openDialog(dialog, onClose) {
  closed(dialog);
  closings.set(dialog, onClose);
  dialog.onclose = () => { if (!dialog.open) closed(dialog); };
  if (!dialog.open) dialog.showModal();
}

function closed(dialog) {
  const onClose = closings.get(dialog);

  closings.delete(dialog);
  onClose?.();
}
