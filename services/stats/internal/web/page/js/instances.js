// The running processes, as they report themselves.

import { hideDetail, openDetail, showDetail } from "./detail.js";
import { byID, el, row, rows, setText } from "./dom.js";
import { bytes, count, plural, position, ranges, seconds, since, span, when, word } from "./format.js";
import { instanceName } from "./partitions.js";
import { rove } from "./rove.js";
import { States } from "./states.js";

const levels = { STREAMING: "", STANDBY: "", APPLYING: "", HISTORY_LOST: "bad", FAILED: "bad", GONE: "gone" };
const attention = ["bad", "waits", "gone", ""]; // what a person should see first

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
    const listeners = new Map(stats.listeners.map((l) => [l.instance.id, l]));

    this.#all = stats.instances.map((i) => line(i, ranges(owned.get(i.instance.id) ?? []), listeners.get(i.instance.id)));
    this.#all.sort((a, b) => attention.indexOf(a.level) - attention.indexOf(b.level) || a.rank - b.rank || a.name.localeCompare(b.name, undefined, { numeric: true }));

    this.#states.note(now, this.#all.map((i) => [i.id, i.state]));

    // How long they are up changes all the time: not the rows, but those cells are written again.
    const focused = byID("instances").contains(document.activeElement) ? document.activeElement.dataset.key : null;
    const cells = this.#all.map((i) => [i.id, i.name, i.role, i.state, i.level, i.partitions, i.version, i.reason]);
    rows(byID("instances"), JSON.stringify(cells), () => this.#all.map(rowOf));
    this.#all.forEach((i, n) => setText(byID("instances").tBodies[0].rows[n].cells[4], i.level === "gone" ? "" : since(i.start)));
    this.#roved(focused);

    byID("instances-none").hidden = this.#all.length > 0;
    setText(byID("instances-summary"), summary(stats.instances));
    if (this.#shown !== null) this.#fill();
  }

  #open(id) {
    openDetail(() => { this.#shown = null; });
    this.#shown = id;
    this.#fill();
  }

  #fill() {
    const i = this.#all.find((one) => one.id === this.#shown);
    if (!i) return showDetail(byID("detail-title").textContent, [["State", "gone: it no longer reports"]]);

    showDetail(`${i.role === "listener" ? "Listener" : "Processor"} ${i.name}`, [
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

const rowOf = (i) => {
  const tr = row(el("td", {}, el("button", { type: "button", class: "link", tabIndex: -1, "data-key": i.id }, i.name)), i.role, i.state, i.partitions, "", i.version, i.reason);
  tr.dataset.state = i.level;

  return tr;
};

// summary counts who is there, and who is missed.
function summary(instances) {
  const number = (holds) => instances.filter(holds).length;
  const there = (role) => number((i) => !i.is_gone && word("INSTANCE_ROLE", i.role) === role);
  const [silent, gone] = [number((i) => i.is_silent), number((i) => i.is_gone)];

  return instances.length ? [plural(there("LISTENER"), "listener"), plural(there("PROCESSOR"), "processor"), silent && `${silent} silent`, gone && `${gone} gone`].filter(Boolean).join(" · ") : "";
}

// line is an instance in the words of relayctl; report is what a listener says beside.
function line(i, partitions, report) {
  const role = word("INSTANCE_ROLE", i.role).toLowerCase();
  const state = i.is_gone ? "GONE" : i.is_silent ? "SILENT" : word("INSTANCE_STATE", i.state);

  return {
    id: i.instance.id, name: instanceName(i.instance), start: i.instance.start_time, version: i.instance.version, reported: i.report_time, reason: i.reason,
    role, state, partitions, level: levels[state] ?? "waits", rank: role === "processor" ? 2 : state === "STREAMING" ? 0 : 1, facts: report ? facts(report) : [],
  };
}

const facts = (l) => [
  ["Captured", `${plural(l.total_events, "event")}, ${count(l.skipped_events)} of them left out`],
  ["Capture lag", l.capture_lag && span(seconds(l.capture_lag))],
  ["Under way", `${plural(l.window_messages, "message")}, ${bytes(l.window_bytes)}`],
  ["Recoveries", count(l.recoveries)],
  ["Position", position(l.position)],
  ["Lease", l.term === "0" ? "not the active one" : `active since term ${count(l.term)}`],
];
