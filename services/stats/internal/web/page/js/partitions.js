// Who owns what, and how much waits there.

import { byID, el, row, rows, setText } from "./dom.js";
import { short, since, word } from "./format.js";

// level is the colour of so many pending changes: one for each power of ten.
const level = (pending) => (pending > 0 ? Math.min(5, 1 + Math.floor(Math.log10(pending))) : 0);

const name = (instance) => `${instance.host} · ${instance.pid}`;

export function showPartitions(stats) {
  const owners = stats.processors.map((p) => ({ id: p.instance.id, label: name(p.instance) })).sort((a, b) => a.label.localeCompare(b.label));
  if (stats.partitions.some((p) => !owners.some((o) => o.id === p.owner_instance))) owners.push({ id: "", label: "no owner reports" });

  const table = byID("heat");
  const key = JSON.stringify([owners, stats.partitions.length]);

  if (table.dataset.key !== key) {
    table.dataset.key = key;
    table.tHead.replaceChildren(el("tr", {}, el("th", { scope: "col" }, "Owner"), stats.partitions.map((p) => el("th", { scope: "col" }, String(p.partition)))));
    table.tBodies[0].replaceChildren(...owners.map((o) => el("tr", {}, el("th", { scope: "row" }, o.label), stats.partitions.map(() => el("td")))));
  }

  const known = new Set(owners.map((o) => o.id));

  owners.forEach((owner, r) => {
    const cells = table.tBodies[0].rows[r].cells;
    stats.partitions.forEach((p, c) => showCell(cells[c + 1], p, (known.has(p.owner_instance) ? p.owner_instance : "") === owner.id));
  });
}

function showCell(cell, p, owned) {
  if (!owned) {
    cell.className = "";
    cell.removeAttribute("data-state");
    cell.title = "";
    setText(cell, "");

    return;
  }

  const state = word("PARTITION_STATE", p.state);
  const fine = state === "APPLYING";
  const pending = p.pending_changes;

  cell.className = pending === undefined ? "" : `h${level(Number(pending))}`;
  cell.title = `partition ${p.partition}: ${fine ? "" : `${state === "UNSPECIFIED" ? "no owner" : state}, `}${pending ?? "unknown"} pending${p.reason ? `; ${p.reason}` : ""}`;
  setText(cell, pending === undefined ? "?" : short(pending));

  if (fine) cell.removeAttribute("data-state");
  else cell.dataset.state = state;
}

export function showInstances(stats) {
  const all = [
    ...stats.listeners.map((l) => ({ role: "listener", state: word("LISTENER_STATE", l.state), instance: l.instance, reason: l.reason })),
    ...stats.processors.map((p) => ({ role: "processor", state: p.reason ? "not ready" : `${p.partitions} partition${p.partitions === 1 ? "" : "s"}`, instance: p.instance, reason: p.reason })),
  ];
  const cells = all.map((i) => [i.role, i.state, i.instance.host, String(i.instance.pid), since(i.instance.start_time), i.instance.version, i.reason || ""]);

  rows(byID("instances"), JSON.stringify(cells), () => cells.map((c) => row(c[0], c[1], c[2], el("td", { class: "number" }, c[3]), c[4], c[5], c[6])));
}
