// One dead letter. Contents of documents stay at the target until a person asks for them.

import { explain, flowPath, get } from "./api.js";
import { byID, el, setText } from "./dom.js";
import { count, error, namespace, position, pretty, when, word } from "./format.js";

// showLetter opens the dialog; onAct is called with "replay" or "discard".
export async function showLetter(flow, name, onAct) {
  const dialog = byID("letter");
  const path = flowPath(flow, `deadLetters/${name.split("/").map(encodeURIComponent).join("/")}`);

  byID("letter-facts").replaceChildren();
  byID("letter-actions").replaceChildren();
  byID("letter-content").hidden = true;
  byID("letter-masked").hidden = false;
  setText(byID("letter-key"), "");
  setText(byID("letter-event"), "");

  byID("letter-close").onclick = () => dialog.close();
  byID("letter-show").onclick = () => showContent(path);

  for (const verb of ["replay", "discard"]) {
    byID(`letter-${verb}`).disabled = true;
    byID(`letter-${verb}`).onclick = () => {
      dialog.close();
      onAct(verb);
    };
  }

  dialog.onclose = () => setText(byID("letter-event"), "");
  dialog.showModal();

  try {
    showFacts(await get(path, { view: "DEAD_LETTER_VIEW_BASIC" }));
  } catch (problem) {
    facts([["Problem", explain(problem)]]);
  }
}

const facts = (list) => byID("letter-facts").replaceChildren(...list.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));

function showFacts(answer) {
  const letter = answer.dead_letter;

  facts([
    ["Name", letter.name],
    ["State", `${word("PARKED_STATE", letter.state).toLowerCase()} since ${when(letter.change_time)}`],
    ["Unreadable", letter.unreadable_because],
    ["Namespace", namespace(letter.namespace)],
    ["Operation", `${letter.operation}, ${count(letter.size)} bytes`],
    ["Error", letter.error && error(letter.error, letter.error_code)],
    ["Attempts", `${letter.attempts}, the first ${when(letter.first_time)}, the last ${when(letter.last_time)}`],
    ["Followers waiting", `${count(answer.followers_waiting)} later changes of the document`],
    ["Position", `${position(letter.position)}, partition ${letter.partition}, event ${count(letter.event_number)}`],
    ["Trace", letter.trace_id],
    ["Event", answer.event_missing_because],
  ]);

  const actions = letter.actions.map((a) => el("li", {}, `${when(a.time)}: ${a.action} by ${a.who}${a.why ? ` – ${a.why}` : ""}`));
  byID("letter-actions").replaceChildren(...(actions.length ? actions : [el("li", {}, "Nobody has touched it.")]));

  const dead = word("PARKED_STATE", letter.state) === "DEAD";
  byID("letter-replay").disabled = byID("letter-discard").disabled = !dead;
}

async function showContent(path) {
  let key = "";
  let event = "";

  try {
    const answer = await get(path, { view: "DEAD_LETTER_VIEW_FULL" });
    key = answer.document_key_json;
    event = answer.event_json ? pretty(answer.event_json) : answer.event_missing_because || answer.event_json_missing_because;
  } catch (problem) {
    event = explain(problem);
  }

  setText(byID("letter-key"), key);
  setText(byID("letter-event"), event);
  byID("letter-masked").hidden = true;
  byID("letter-content").hidden = false;
  byID("letter-event").focus();
}
