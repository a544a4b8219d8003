// The dialog with the details of one thing, which follow the samples while it is open.

import { byID, el, openDialog, setText } from "./dom.js";

// openDetail opens the dialog; onClose is called when it is closed, or shows something else.
export function openDetail(onClose) {
  byID("detail-close").onclick = hideDetail;
  openDialog(byID("detail"), onClose);
}

export const hideDetail = () => byID("detail").close();

// showDetail fills the dialog while it is open.
export function showDetail(title, facts) {
  const list = byID("detail-facts");
  const known = facts.filter(([, value]) => value);
  const key = known.map(([name]) => name).join();

  setText(byID("detail-title"), title);

  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...known.flatMap(([name]) => [el("dt", {}, name), el("dd")]));
  }

  known.forEach(([, value], i) => setText(list.children[2 * i + 1], value));
}
