// The dialog with the details of one thing, which follow the samples while it is open.

import { byID, el, setText } from "./dom.js";

// showDetail opens the dialog, if it is not open, and returns how to fill it.
export function showDetail(title, onClose) {
  const dialog = byID("detail");

  setText(byID("detail-title"), title);
  if (onClose) dialog.onclose = onClose;

  byID("detail-close").onclick = () => dialog.close();
  if (!dialog.open) dialog.showModal();

  return { facts };
}

export const hideDetail = () => byID("detail").close();

function facts(all) {
  const list = byID("detail-facts");
  const known = all.filter(([, value]) => value);
  const key = known.map(([name]) => name).join();

  if (list.dataset.key !== key) {
    list.dataset.key = key;
    list.replaceChildren(...known.flatMap(([name]) => [el("dt", {}, name), el("dd")]));
  }

  known.forEach(([, value], i) => setText(list.children[2 * i + 1], value));
}
