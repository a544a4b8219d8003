// One hour of charts. The points are the service's: rates are made there, so every window adds up to the same.

import { explain, flowPath, get } from "./api.js";
import { byID, el, say, setText } from "./dom.js";
import { clock, seconds, short, span, word } from "./format.js";
import { historyNote } from "./status.js";

const steps = { 300: 1, 900: 3, 3600: 10 }; // seconds between points, by seconds shown
const fields = ["captured_per_second", "settled_per_second", "pending_changes", "lag", "capture_lag", "history_remaining"];
const height = 165;

const rate = (v) => `${v > 0 && v < 10 ? v.toFixed(1) : short(Math.round(v))}/s`;
const spans = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800, 2_592_000]; // s between lines

const number = (v) => (v < 1 && v > 0 ? "" : short(Math.round(v))); // an axis of less than 2 has halves

const kinds = [
  { title: "Changes per second", format: rate, series: [["captured", 0, "--in"], ["applied, failed or skipped", 1, "--out"]] },
  { title: "Pending changes", format: number, series: [["pending", 2, "--pending"]] },
  { title: "Lag", format: span, series: [["apply", 3, "--out"], ["capture", 4, "--in"]] },
  { title: "History left at the source", format: span, series: [["left", 5, "--other"]], limits: [["warns below", "history_warn", "--warn"], ["critical below", "history_critical", "--bad"]] },
];

export class Charts {
  #flow = "";
  #window = 900;
  #points = [[], ...fields.map(() => [])]; // x first
  #last = ""; // time of the last point, as the service wrote it
  #plots = [];
  #limits = {}; // by field, in seconds; null: there is none
  #stats = null; // the last sample
  #busy = false;

  constructor() {
    for (const button of document.querySelectorAll("[data-window]")) button.onclick = () => this.#choose(Number(button.dataset.window));

    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
    new ResizeObserver(() => this.#resize()).observe(byID("charts"));
    this.#build();
  }

  setFlow(flow) {
    this.#flow = flow;
    this.#stats = null;
    this.#clear();
  }

  #choose(window) {
    this.#window = window;
    for (const button of document.querySelectorAll("[data-window]")) button.setAttribute("aria-pressed", String(Number(button.dataset.window) === window));
    this.#clear();
    this.update();
  }

  #clear() {
    this.#points = [[], ...fields.map(() => [])];
    this.#last = "";
  }

  // judge writes beside the history what the listener says of it, and draws its thresholds: they are its own.
  #judge(stats) {
    const { card, kind } = this.#plots.find(({ kind }) => kind.limits);
    const level = word("HISTORY_LEVEL", stats.history_level);

    setText(card.querySelector(".note"), stats.history_remaining ? historyNote(stats) || "enough" : stats.history_unknown_because || "unknown");
    card.dataset.level = level;

    this.#stats = stats;

    // Nothing is too short at a source that forgets nothing.
    const holds = word("HISTORY_TREND", stats.history_trend) !== "STILL";
    const limits = Object.fromEntries(kind.limits.map(([, field]) => [field, holds ? seconds(stats[field]) : null]));
    card.toggleAttribute("data-unlimited", Object.values(limits).every((limit) => limit === null));
    if (JSON.stringify(limits) === JSON.stringify(this.#limits)) return;

    this.#limits = limits;
    this.#draw();
  }

  // update asks for the points since the last one. Now is the service's time.
  async update(now = Date.now(), stats = null) {
    if (stats) this.#judge(stats);

    const step = steps[this.#window];
    if (this.#busy || (this.#last && now - Date.parse(this.#last) < step * 1000)) return;

    this.#busy = true;

    const [flow, window] = [this.#flow, this.#window];
    const after = this.#last || new Date(now - window * 1000).toISOString();

    try {
      const { points } = await get(flowPath(flow, "timeline"), { after_time: after, step: `${step}s` });
      if (flow === this.#flow && window === this.#window) this.#add(points);
      say(byID("charts-problem"), "");
    } catch (error) {
      say(byID("charts-problem"), `The charts are of before: ${explain(error)}`);
    } finally {
      this.#busy = false;
    }
  }

  #add(points) {
    for (const point of points) {
      this.#points[0].push(Date.parse(point.sample_time) / 1000);
      fields.forEach((field, i) => this.#points[i + 1].push(read(point[field])));
      this.#last = point.sample_time;
    }

    const oldest = this.#points[0].findIndex((x) => x > this.#points[0].at(-1) - this.#window);
    if (oldest > 0) this.#points.forEach((column) => column.splice(0, oldest));

    this.#draw();
  }

  #draw() {
    const end = this.#points[0].at(-1) ?? Date.now() / 1000;

    this.#plots.forEach(({ plot, kind }) => {
      const limits = (kind.limits ?? []).map(([, field]) => this.#points[0].map(() => this.#limits[field] ?? null));
      plot.setData([this.#points[0], ...kind.series.map(([, i]) => this.#points[i + 1]), ...limits], false);
      plot.setScale("x", { min: end - this.#window, max: end });
      plot.setLegend(null, false);
    });
  }

  #build() {
    this.#plots.forEach(({ plot }) => plot.destroy());

    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = { stroke: colour("--fine"), grid: { stroke: colour("--grid"), width: 1 }, ticks: { stroke: colour("--grid"), width: 1 }, font: "12px system-ui, sans-serif" };

    const cards = kinds.map((kind) => el("div", { class: "chart" }, el("h3", {}, kind.title, el("span", { class: "note" }))));
    byID("charts").replaceChildren(...cards);

    this.#plots = kinds.map((kind, i) => ({
      kind,
      card: cards[i],
      plot: new uPlot({
        width: cards[i].clientWidth || 300, height,
        cursor: { y: false, drag: { x: false, y: false }, sync: { key: "hour" } },
        scales: { x: { time: true }, y: { range: (_, _least, most) => [0, this.#top(kind, most) * 1.1 || 1] } },
        axes: [
          { ...axis, size: 28, space: 80, values: (_, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString([], { hour12: false, hour: "2-digit", minute: "2-digit", ...(this.#window === 300 && { second: "2-digit" }) })) },
          { ...axis, size: 62, space: 34, ...(kind.format === span && { incrs: spans }), values: (_, ticks) => ticks.map(kind.format) },
        ],
        series: [
          { label: "at", value: pointed((v) => clock(v * 1000)) },
          ...kind.series.map(([label, , name]) => ({ label, stroke: colour(name), width: 1.6, points: { show: false }, value: pointed(kind.format) })),
          ...(kind.limits ?? []).map(([label, , name]) => ({ label, stroke: colour(name), paths: () => null, points: { show: false }, auto: false, value: pointed(kind.format) })),
        ],
        hooks: { draw: [(plot) => (kind.limits ?? []).forEach(([, field, name]) => line(plot, this.#limits[field], colour(name)))] },
      }, [[], ...[...kind.series, ...(kind.limits ?? [])].map(() => [])], cards[i]),
    }));

    if (this.#points[0].length) this.#draw();
    if (this.#stats) this.#judge(this.#stats);
  }

  // top is the end of an axis: the most that there is, or the next threshold above it.
  #top(kind, most) {
    const above = (kind.limits ?? []).map(([, field]) => this.#limits[field] ?? 0).filter((limit) => limit >= most);

    return above.length ? Math.min(...above) : most;
  }

  #resize() {
    for (const { plot } of this.#plots) {
      const width = plot.root.parentElement.clientWidth;
      if (width && width !== plot.width) plot.setSize({ width, height });
    }
  }
}

// line draws a threshold over the whole width: it holds before the first point, too.
function line(plot, value, colour) {
  const { ctx, bbox } = plot;
  if (!value || value > plot.scales.y.max) return;

  const y = plot.valToPos(value, "y", true);

  ctx.save();
  ctx.strokeStyle = colour;
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([6 * devicePixelRatio, 4 * devicePixelRatio]);
  ctx.beginPath();
  ctx.moveTo(bbox.left, y);
  ctx.lineTo(bbox.left + bbox.width, y);
  ctx.stroke();
  ctx.restore();
}

// pointed writes the value that the pointer is on, or else the latest.
const pointed = (format) => (plot, _value, series, index) => {
  const value = plot.data[series][index ?? plot.data[0].length - 1];

  return value === null || value === undefined ? "–" : format(value);
};

// read is null for what was unknown: the line has a hole there.
function read(value) {
  if (value === undefined || value === null) return null;

  return typeof value === "string" && value.endsWith("s") ? seconds(value) : Number(value);
}
