// What is never forgotten: accepted gaps, and who did what.

import { explain, flowPath, get } from "./api.js";
import { byID, el, row, rows, say } from "./dom.js";
import { count, position, when, word } from "./format.js";

export async function loadGaps(flow) {
  await load("gaps", async () => {
    const { gaps, next_page_token: more } = await get(flowPath(flow, "gaps"), { page_size: 1000 });
    const by = (a) => (a ? `${a.by}, ${when(a.time)}: ${a.reason}` : "");

    return [more, gaps.map((g) => [
      word("GAP_STATE", g.state).toLowerCase(), `${when(g.from_time)} (${position(g.from_position)})`, `${when(g.to_time)} (${position(g.to_position)})`,
      g.requested ? `${g.requested.by}, ${when(g.requested.time)}` : "", g.requested?.reason ?? "", by(g.divergence) || "not accepted",
    ])];
  });
}

export async function loadAudit(flow) {
  await load("audit", async () => {
    const { records, next_page_token: more } = await get(flowPath(flow, "auditRecords"), { page_size: 50 });

    return [more, records.map((r) => [when(r.time), r.action, r.who, r.why, r.selection, outcome(r)])];
  });
}

function outcome(record) {
  if (record.changed === undefined || record.changed === null) return "end not recorded";

  const text = `${count(record.changed)} changed, ${count(record.refused)} left`;

  return record.failed_because ? `${text}; ended early: ${record.failed_because}` : text;
}

const turns = { gaps: 0, audit: 0 }; // of the last question: answers to earlier ones, perhaps of another flow, are late

async function load(id, read) {
  const own = ++turns[id];

  try {
    const [more, cells] = await read();
    if (own !== turns[id]) return;

    rows(byID(id), JSON.stringify(cells), () => cells.map((c) => row(el("td", { class: "nowrap" }, c[0]), ...c.slice(1))));
    byID(`${id}-none`).hidden = cells.length > 0;
    byID(`${id}-more`).hidden = !more;
    say(byID(`${id}-problem`), "");
  } catch (error) {
    if (own === turns[id]) say(byID(`${id}-problem`), explain(error));
  }
}
