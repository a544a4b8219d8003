// The partitions: how much waits in each, and who owns it.

import { hideDetail, openDetail, showDetail } from "./detail.js";
import { byID, el, setText } from "./dom.js";
import { count, plural, position, ranges, seconds, short, span, word } from "./format.js";
import { rove } from "./rove.js";
import { since, States } from "./states.js";

// level is the colour of so many pending changes: one for each power of ten.
const level = (pending) => (pending > 0 ? Math.min(5, String(pending).length) : 0);

export const instanceName = (instance) => `${instance.host} · ${instance.pid}`;

const words = { "": "without an owner that reports", HELD: "paused with the flow", APPLYING: "applying", DRAINING: "being handed over" };

// stateOf is what a partition is doing; empty when no owner reports.
const stateOf = (p) => (p.is_held ? "HELD" : p.owner_instance ? word("PARTITION_STATE", p.state) : "");

export const wordOf = (state) => words[state] ?? state.toLowerCase().replaceAll("_", " ");

export class Partitions {
  #states = new States();
  #stats = null;
  #shown = null; // number of the partition whose details are open
  #roved = rove(byID("tiles"), (key) => this.#open(Number(key)));

  setFlow() {
    this.#states.clear();
    byID("tiles").replaceChildren();
    if (this.#shown !== null) hideDetail();
  }

  show(stats) {
    this.#stats = stats;

    // Another owner, or another epoch of the same one, is another state.
    this.#states.note(Date.parse(stats.sample_time), stats.partitions.map((p) => [p.partition, `${stateOf(p)} ${p.owner_instance} ${p.epoch}`]));

    const tiles = byID("tiles");
    const owners = new Map(stats.processors.map((p) => [p.instance.id, instanceName(p.instance)]));

    if (tiles.children.length !== stats.partitions.length) {
      tiles.replaceChildren(...stats.partitions.map((p) => el("button", { type: "button", tabIndex: -1, "data-key": String(p.partition) }, el("small", {}, String(p.partition)), el("b"))));
      this.#roved();
    }

    stats.partitions.forEach((p, i) => showTile(tiles.children[i], p, owners.get(p.owner_instance)));
    byID("partitions-none").hidden = stats.partitions.length > 0;
    setText(byID("partitions-summary"), summary(stats.partitions));
    if (this.#shown !== null) this.#fill();
  }

  #open(number) {
    openDetail(() => { this.#shown = null; });
    this.#shown = number;
    this.#fill();
  }

  #fill() {
    const p = this.#stats.partitions[this.#shown];
    if (!p) return hideDetail();

    const owner = this.#stats.processors.find((o) => o.instance.id === p.owner_instance)?.instance;

    showDetail(`Partition ${p.partition}`, [
      ["State", `${wordOf(stateOf(p))}, ${p.state_time ? since(Date.parse(p.state_time), Date.parse(this.#stats.sample_time)) : this.#states.since(p.partition)}`],
      ["Reason", p.reason],
      ["Owner", owner ? `${instanceName(owner)}, ownership ${count(p.epoch)}` : "none that reports"],
      ["Pending", p.pending_changes === undefined ? "unknown" : `${plural(p.pending_changes, "change")}, ${count(p.parked_changes)} of them set aside and retried`],
      ["Lag", p.lag ? span(seconds(p.lag)) : "unknown"],
      ["Batch in work", `${plural(p.pending_batch_size, "change")}${p.is_batch_processing ? ", being applied" : ""}`],
      ["Processed", `${plural(p.processed_changes, "change")} in ${plural(p.batches_processed, "transaction")}`],
      ["Failed", plural(p.failed_changes, "change")],
      ["Skipped here", plural(p.skipped_changes, "change")],
      ["Checkpoint", p.sequence === "0" ? "none yet" : `message ${count(p.sequence)}, position ${position(p.position)}`],
    ]);
  }
}

function showTile(tile, p, owner) {
  const state = stateOf(p);
  const pending = p.pending_changes;

  tile.className = `tile h${pending === undefined ? 0 : level(pending)}`;
  setText(tile.lastChild, pending === undefined ? "?" : short(pending));

  if (state === "APPLYING") tile.removeAttribute("data-state");
  else tile.dataset.state = state;

  const label = `Partition ${p.partition}: ${wordOf(state)}, ${pending === undefined ? "unknown" : count(pending)} pending${owner ? `, owner ${owner}` : ""}${p.reason ? `; ${p.reason}` : ""}`;
  if (tile.title !== label) {
    tile.title = label;
    tile.setAttribute("aria-label", label);
  }
}

function summary(partitions) {
  const by = new Map();
  for (const p of partitions) by.set(stateOf(p), [...(by.get(stateOf(p)) ?? []), p.partition]);

  return [...by].map(([state, numbers]) => `${numbers.length} ${wordOf(state)}${state === "APPLYING" || numbers.length === partitions.length ? "" : ` (${ranges(numbers)})`}`).join(" · ");
}
