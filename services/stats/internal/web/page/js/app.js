// The page: one flow at a time, followed until the page is frozen.

import { explain, get } from "./api.js";
import { Charts } from "./charts.js";
import { byID, el, setText } from "./dom.js";
import { download } from "./download.js";
import { clock, span } from "./format.js";
import { Instances } from "./instances.js";
import { Letters } from "./letters.js";
import { Partitions } from "./partitions.js";
import { Pause } from "./pause.js";
import { goTo, place, setPlace } from "./place.js";
import { loadAudit, loadGaps } from "./records.js";
import { showStatus, showStopped } from "./status.js";
import { follow } from "./stream.js";

const late = 3500; // ms after which a sample is missing
const again = 15000; // ms after which records are asked for again: samples do not tell of what others do

const charts = new Charts();
const letters = new Letters();
const partitions = new Partitions();
const instances = new Instances();
const pause = new Pause();

let flow = "";
let stop = null; // ends the stream; null while frozen or hidden
let frozen = false;
let arrived = Date.now(); // when the last sample came
let problem = ""; // why there is none
let gaps = null; // as the last sample said
let recorded = 0; // when the records were asked for

function onStats(stats) {
  arrived = Date.now();
  problem = "";
  document.body.dataset.stale = "false";
  document.body.dataset.sample = stats.sample_time;

  showStatus(stats);
  pause.show(stats);
  partitions.show(stats);
  instances.show(stats);
  letters.update(stats);
  charts.update(Date.parse(stats.sample_time), stats);

  if (gaps !== stats.gaps || Date.now() - recorded > again) {
    gaps = stats.gaps;
    loadRecords();
  }

  showFreshness();
}

function loadRecords() {
  recorded = Date.now();
  loadGaps(flow);
  loadAudit(flow);
}

function showFreshness() {
  const node = byID("freshness");
  const age = Date.now() - arrived;

  if (frozen) {
    node.dataset.state = "frozen";
    setText(node, `page frozen at ${clock(arrived)}`);
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
  stop = frozen || document.hidden || !flow ? null : follow(flow, onStats, (text) => { problem = text; });
}

function choose(name) {
  flow = name;
  gaps = null;
  arrived = Date.now();
  setPlace(name);

  for (const part of [charts, letters, partitions, instances, pause]) part.setFlow(name);

  loadRecords();
  connect();
}

byID("freeze").onclick = () => {
  frozen = !frozen;
  byID("freeze").setAttribute("aria-pressed", String(frozen));
  setText(byID("freeze"), frozen ? "Go live" : "Freeze page");
  if (!frozen) arrived = Date.now();
  connect();
  showFreshness();
};

// A page that nobody sees asks nobody.
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) arrived = Math.max(arrived, Date.now() - late + 1000);
  connect();
});
byID("download").onclick = () => download(flow);
document.addEventListener("acted", loadRecords);
byID("flow").onchange = (event) => choose(event.target.value);
window.addEventListener("hashchange", () => {
  const wanted = place();

  if (wanted.flow !== flow && [...byID("flow").options].some((option) => option.value === wanted.flow)) {
    byID("flow").value = wanted.flow;
    choose(wanted.flow);
  }

  if (wanted.section) goTo(wanted.section);
});
setInterval(() => { if (!document.hidden) showFreshness(); }, 500);

async function begin() {
  try {
    const { flows } = await get("/v1/flows");
    byID("flow").replaceChildren(...flows.map((f) => el("option", { value: f.name }, f.name)));

    const wanted = place();
    byID("flow").value = flows.some((f) => f.name === wanted.flow) ? wanted.flow : flows[0].name;
    choose(byID("flow").value);
    if (wanted.section) goTo(wanted.section);
  } catch (error) {
    problem = explain(error);
    setTimeout(begin, 2000);
  }
}

begin();
