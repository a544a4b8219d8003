// The page: one flow at a time, followed until it is paused.

import { explain, get } from "./api.js";
import { Charts } from "./charts.js";
import { byID, el, setText } from "./dom.js";
import { clock, span } from "./format.js";
import { Letters } from "./letters.js";
import { showInstances, showPartitions } from "./partitions.js";
import { loadAudit, loadGaps } from "./records.js";
import { showStatus, showStopped } from "./status.js";
import { follow } from "./stream.js";

const late = 3500; // ms after which a sample is missing

const charts = new Charts();
const letters = new Letters();

let flow = "";
let stop = null; // ends the stream; null while paused or hidden
let paused = false;
let arrived = Date.now(); // when the last sample came
let problem = ""; // why there is none
let gaps = null; // as the last sample said

function onStats(stats) {
  arrived = Date.now();
  problem = "";
  document.body.dataset.stale = "false";

  showStatus(stats);
  showPartitions(stats);
  showInstances(stats);
  letters.update(stats);
  charts.update(Date.parse(stats.sample_time));

  if (gaps !== stats.gaps) {
    gaps = stats.gaps;
    loadGaps(flow);
  }

  showFreshness();
}

function showFreshness() {
  const node = byID("freshness");
  const age = Date.now() - arrived;

  if (paused) {
    node.dataset.state = "paused";
    setText(node, `paused at ${clock(arrived)}`);
  } else if (age < late) {
    node.dataset.state = "live";
    setText(node, `live · ${clock(arrived)}`);
  } else {
    node.dataset.state = "stopped";
    setText(node, `no data since ${clock(arrived)} · ${span(age / 1000)}`);
    document.body.dataset.stale = "true";
    showStopped(clock(arrived), problem);
  }
}

function connect() {
  stop?.();
  stop = paused || document.hidden || !flow ? null : follow(flow, onStats, (text) => { problem = text; });
}

function choose(name) {
  flow = name;
  gaps = null;
  arrived = Date.now();
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
  charts.setFlow(name);
  letters.setFlow(name);
  loadAudit(name);
  connect();
}

byID("pause").onclick = () => {
  paused = !paused;
  byID("pause").setAttribute("aria-pressed", String(paused));
  setText(byID("pause"), paused ? "Resume" : "Pause");
  if (!paused) arrived = Date.now();
  connect();
  showFreshness();
};

// A page that nobody sees asks nobody.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) arrived = Math.max(arrived, Date.now() - late + 1000);
  connect();
});
document.addEventListener("acted", () => loadAudit(flow));
byID("flow").onchange = (event) => choose(event.target.value);
setInterval(() => { if (!document.hidden) showFreshness(); }, 500);

async function begin() {
  try {
    const { flows } = await get("/v1/flows");
    byID("flow").replaceChildren(...flows.map((f) => el("option", { value: f.name }, f.name)));

    const wanted = decodeURIComponent(location.hash.slice(1));
    byID("flow").value = flows.some((f) => f.name === wanted) ? wanted : flows[0].name;
    choose(byID("flow").value);
  } catch (error) {
    problem = explain(error);
    setTimeout(begin, 2000);
  }
}

begin();
