// The points of the last hour as a file, for a spreadsheet.

import { explain, flowPath, get } from "./api.js";
import { byID, el, say } from "./dom.js";
import { seconds } from "./format.js";

const plain = (value) => value ?? "";
const spans = (value) => seconds(value) ?? "";

const columns = [
  ["sample_time", "sample_time", plain], ["captured_per_second", "captured_per_second", plain], ["settled_per_second", "settled_per_second", plain],
  ["pending_changes", "pending_changes", plain], ["dead_letters", "dead_letters", plain], ["lag_seconds", "lag", spans],
  ["capture_lag_seconds", "capture_lag", spans], ["history_remaining_seconds", "history_remaining", spans],
];

// download gives the person a CSV file with a line for each second; what was unknown is empty.
export async function download(flow) {
  try {
    const { points } = await get(flowPath(flow, "timeline"), { step: "1s" });
    const lines = [columns.map(([name]) => name), ...points.map((point) => columns.map(([, field, write]) => write(point[field])))];
    const url = URL.createObjectURL(new Blob([lines.map((line) => `${line.join(",")}\n`).join("")], { type: "text/csv" }));

    el("a", { href: url, download: `${flow}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.csv` }).click();
    URL.revokeObjectURL(url);
    say(byID("charts-problem"), "");
  } catch (error) {
    say(byID("charts-problem"), explain(error));
  }
}
