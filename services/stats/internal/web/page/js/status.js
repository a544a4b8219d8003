// The word, its reasons, the next step, and the figures: what relayctl status and stats say.

import { byID, el, setText } from "./dom.js";
import { bytes, count, plural, seconds, span, word } from "./format.js";

const glyphs = { OK: "✓", DEGRADED: "!", DIVERGED: "≠", DOWN: "✕", UNKNOWN: "?", STOPPED: "✕" };

export function showStatus(stats) {
  show(word("STATUS", stats.status), stats.reasons, stats.next_step);
  showNotes(stats);
  showFigures(stats);
}

// showStopped says that what stands below is of the past.
export function showStopped(sinceWhen, problem) {
  show("STOPPED", [`No data since ${sinceWhen}: what is shown is of then.`, ...(problem ? [problem] : [])], "look whether the stats service runs; this page goes on by itself");
  setText(byID("word"), "NO DATA");
}

function show(status, reasons, next) {
  const list = byID("reasons");
  const lines = reasons.length ? reasons : ["Replicating; nothing needs a person."];

  // A screen reader is told when the word changes, not of each figure in a reason.
  if (byID("status").dataset.status !== status) setText(byID("announcement"), `${status}: ${lines.join(" ")}`);

  byID("status").dataset.status = status;
  setText(byID("word"), `${glyphs[status] ?? "?"} ${status}`);

  if (list.dataset.key !== lines.join("\n")) {
    list.dataset.key = lines.join("\n");
    list.replaceChildren(...lines.map((line) => el("li", {}, line)));
  }

  setText(byID("next-step"), next || "");
  byID("next").hidden = !next;
  document.title = `${status === "STOPPED" ? "NO DATA" : status} · Atlas Relay`;
}

// showNotes says what is worth knowing although nothing has to be done about it.
function showNotes(stats) {
  const lines = [...stats.notes, ...(stats.at_least_once ? ["changes are applied at least once: the target is a standalone mongod, which has no transactions"] : [])];
  const list = byID("notes");

  list.hidden = !lines.length;
  if (list.dataset.key === lines.join("\n")) return;

  list.dataset.key = lines.join("\n");
  list.replaceChildren(...lines.map((line) => el("li", {}, el("strong", {}, "Note: "), line)));
}

function showFigures(stats) {
  const why = stats.unknown_because.join("; ") || "the service has not said";
  const number = (value, note, alarm) => (value === undefined || value === null ? { unknown: why } : { value: count(value), note, alarm });
  const time = (value, note) => (value === undefined || value === null ? { unknown: why } : { value: span(seconds(value)), note });

  draw("figures", {
    Lag: time(stats.lag, waits(stats.lag, "applied")),
    "Capture lag": time(stats.capture_lag, waits(stats.capture_lag, "captured")),
    "Dead letters": number(stats.dead_letters, Number(stats.dead_letters) >= 10000 ? "or more" : "", Number(stats.dead_letters) > 0),
    Retried: number(stats.parked_changes, Number(stats.parked_changes) ? "set aside, part of pending" : ""),
    "History left": history(stats),
    "In the stream": stats.stream ? { value: bytes(stats.stream.bytes), note: filled(stats.stream) } : { unknown: why },
  });

  draw("equation", {
    Captured: number(stats.total_changes),
    Processed: number(stats.processed_changes, stats.batches_processed ? `in ${count(stats.batches_processed)} batches` : ""),
    Failed: number(stats.failed_changes, Number(stats.failed_changes) ? "ever given up" : ""),
    Skipped: number(stats.skipped_changes),
    Pending: number(stats.pending_changes),
  }, ["", "=", "+", "+", "+"]);

  const line = byID("sum");
  line.className = "fine sums";
  line.toggleAttribute("data-wrong", stats.adds_up === false);
  line.toggleAttribute("data-unknown", stats.adds_up === undefined || stats.adds_up === null);
  setText(line, sum(stats));
}

// waits says what an age is the age of.
const waits = (age, what) => (seconds(age) > 0 ? `since the oldest change not yet ${what}` : `everything is ${what}`);

function filled(stream) {
  if (stream.max_bytes === "0") return plural(stream.messages, "message");

  const percent = Math.round((Number(stream.bytes) / Number(stream.max_bytes)) * 100);

  return `${percent < 1 ? "less than 1" : percent} % of ${bytes(stream.max_bytes)}; ${plural(stream.messages, "message")}`;
}

function history(stats) {
  if (!stats.history_remaining) return { unknown: stats.history_unknown_because || "no active listener reports it" };

  return { value: span(seconds(stats.history_remaining)), note: historyNote(stats), alarm: word("HISTORY_LEVEL", stats.history_level) === "CRITICAL" };
}

// historyNote says what the history that is left is doing, and how the listener judges it.
export function historyNote(stats) {
  const level = { WARN: "below HISTORY_WARN", CRITICAL: "below HISTORY_CRITICAL" }[word("HISTORY_LEVEL", stats.history_level)];
  const trend = { STILL: "at least; the source forgets nothing yet", SHRINKING: "and shrinking" }[word("HISTORY_TREND", stats.history_trend)];

  return [level, trend].filter(Boolean).join(", ");
}

function sum(stats) {
  if (stats.adds_up === true) return "Adds up: captured = processed + failed + skipped + pending, in changes since the flow was made.";
  if (stats.adds_up === false) return "DOES NOT ADD UP: captured is not processed + failed + skipped + pending.";

  return stats.unknown_because.length ? "The sum is unknown." : "The sum was not checked: the numbers moved while they were read.";
}

// draw writes figures into a list; signs stand before those of an equation.
function draw(id, figures, signs = []) {
  const list = byID(id);

  Object.entries(figures).forEach(([name, figure], i) => {
    let cell = list.querySelector(`[data-figure="${name}"]`);

    if (!cell) {
      cell = el("dd", { "data-figure": name }, el("span"), el("small"));
      list.append(el("div", signs[i] ? { "data-sign": signs[i] } : {}, el("dt", {}, name), cell));
    }

    const [value, note] = cell.children;
    value.className = figure.unknown ? "unknown" : figure.alarm ? "alarm" : "";
    setText(value, figure.unknown ? "unknown" : figure.value);
    setText(note, figure.unknown ? `because ${figure.unknown}` : figure.note || "");
  });
}
