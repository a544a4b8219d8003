// The running processes, as they report themselves.

import { hideDetail, showDetail } from "./detail.js";
import { byID, el, row, rows, setText } from "./dom.js";
import { bytes, count, plural, position, ranges, seconds, since, span, when, word } from "./format.js";
import { instanceName } from "./partitions.js";
import { rove } from "./rove.js";
import { States } from "./states.js";

const fine = new Set(["STREAMING", "STANDBY"]);
const over = new Set(["HISTORY_LOST", "FAILED"]);
const attention = ["bad", "waits", ""]; // what a person should see first

export class Instances {
  #states = new States();
  #all = [];
  #shown = null; // id of the one whose details are open
  #roved = rove(byID("instances"), (id) => this.#open(id));

  setFlow() {
    this.#states.clear();
    if (this.#shown !== null) hideDetail();
  }

  show(stats) {
    const owned = new Map();
    for (const p of stats.partitions) owned.set(p.owner_instance, [...(owned.get(p.owner_instance) ?? []), p.partition]);

    const now = Date.parse(stats.sample_time);

    this.#all = [...stats.listeners.map(listener), ...stats.processors.map((p) => processor(p, owned.get(p.instance.id) ?? []))]
      .sort((a, b) => a.rank - b.rank || a.name.localeCompare(b.name, undefined, { numeric: true }));

    const silent = new Map(stats.instances.filter((i) => i.is_silent).map((i) => [i.instance.id, i.reason]));
    for (const i of this.#all) if (silent.has(i.id)) [i.state, i.level, i.reason] = ["silent", "waits", silent.get(i.id)];

    this.#all.sort((a, b) => attention.indexOf(a.level) - attention.indexOf(b.level)); // stable: else in that order

    this.#states.note(now, this.#all.map((i) => [i.id, i.state]));

    // How long they are up changes all the time: not the rows, but those cells are written again.
    const focused = byID("instances").contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const cells = this.#all.map((i) => [i.id, i.name, i.role, i.state, i.level, i.partitions, i.version, i.reason]);
    rows(byID("instances"), JSON.stringify(cells), () => this.#all.map(line));
    this.#all.forEach((i, n) => setText(byID("instances").tBodies[0].rows[n].cells[4], since(i.start)));
    this.#roved(focused);

    byID("instances-none").hidden = this.#all.length > 0;
    setText(byID("instances-summary"), this.#all.length ? `${plural(stats.listeners.length, "listener")} · ${plural(stats.processors.length, "processor")}${silent.size ? ` · ${silent.size} silent` : ""}` : "");
    if (this.#shown !== null) this.#fill();
  }

  #open(id) {
    this.#shown = id;
    showDetail("", () => { this.#shown = null; });
    this.#fill();
  }

  #fill() {
    const i = this.#all.find((one) => one.id === this.#shown);
    if (!i) return showDetail(byID("detail-title").textContent).facts([["State", "gone: it no longer reports"]]);

    showDetail(`${i.role === "listener" ? "Listener" : "Processor"} ${i.name}`).facts([
      ["State", `${i.state}, ${this.#states.since(i.id)}`],
      ["Reason", i.reason],
      ["Partitions", i.partitions],
      ...i.facts,
      ["Started", i.start && `${when(i.start)}, by its own clock`],
      ["Reported last", i.reported && `${when(i.reported)}, by its own clock`],
      ["Version", i.version],
      ["Identity", i.id],
    ]);
  }
}

const line = (i) => {
  const tr = row(el("td", {}, el("button", { type: "button", class: "link", tabIndex: -1, "data-key": i.id }, i.name)), i.role, i.state, i.partitions, "", i.version, i.reason);
  tr.dataset.state = i.level;

  return tr;
};

const common = (i) => ({ id: i.instance.id, name: instanceName(i.instance), start: i.instance.start_time, version: i.instance.version, reported: i.report_time, reason: i.reason });

function listener(l) {
  const state = word("LISTENER_STATE", l.state);

  return {
    ...common(l), role: "listener", state, partitions: "", rank: state === "STREAMING" ? 0 : 1,
    level: fine.has(state) ? "" : over.has(state) ? "bad" : "waits",
    facts: [
      ["Captured", `${plural(l.total_events, "event")}, ${count(l.skipped_events)} of them left out`],
      ["Capture lag", l.capture_lag && span(seconds(l.capture_lag))],
      ["Under way", `${plural(l.window_messages, "message")}, ${bytes(l.window_bytes)}`],
      ["Recoveries", count(l.recoveries)],
      ["Position", position(l.position)],
      ["Lease", l.term === "0" ? "not the active one" : `active since term ${count(l.term)}`],
    ],
  };
}

function processor(p, owned) {
  return {
    ...common(p), role: "processor", state: p.reason ? "not ready" : owned.length ? "at work" : "stands by", partitions: ranges(owned), rank: 2,
    level: p.reason ? "waits" : "", facts: [],
  };
}
