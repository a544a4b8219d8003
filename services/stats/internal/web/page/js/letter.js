// One dead letter. Contents of documents stay at the target until a person asks for them.

import { explain, flowPath, get } from "./api.js";
import { mark } from "./compare.js";
import { byID, el, openDialog, say, setText } from "./dom.js";
import { count, error, namespace, position, when, word } from "./format.js";

let turn = 0; // of the dialog: an answer to one that was opened before, or is closed, is late

// showLetter opens the dialog; onAct is called with "replay", "refetch" or "discard".
export async function showLetter(flow, name, onAct) {
  const dialog = byID("letter");
  const path = flowPath(flow, `deadLetters/${name.split("/").map(encodeURIComponent).join("/")}`);

  openDialog(dialog, forget);

  const own = turn;

  byID("letter-facts").replaceChildren();
  byID("letter-actions").replaceChildren();
  byID("letter-content").hidden = true;
  byID("letter-masked").hidden = false;
  say(byID("letter-refused"), "");

  byID("letter-close").onclick = () => dialog.close();
  byID("letter-show").onclick = () => showContent(path, own);

  for (const verb of ["replay", "refetch", "discard"]) {
    byID(`letter-${verb}`).disabled = true;
    byID(`letter-${verb}`).onclick = () => {
      dialog.close();
      onAct(verb);
    };
  }

  try {
    const answer = await get(path, { view: "DEAD_LETTER_VIEW_BASIC" });
    if (own === turn) showFacts(answer);
  } catch (problem) {
    if (own === turn) facts([["Problem", explain(problem)]]);
  }
}

function forget() {
  turn++;
  for (const id of ["letter-key", "letter-event", "letter-target", "letter-differs"]) byID(id).replaceChildren();
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
  for (const verb of ["replay", "refetch", "discard"]) byID(`letter-${verb}`).disabled = !dead;
}

async function showContent(path, own) {
  try {
    const answer = await get(path, { view: "DEAD_LETTER_VIEW_FULL" });
    if (own !== turn) return;

    const paths = answer.differing_paths;

    setText(byID("letter-key"), answer.document_key_json);
    byID("letter-differs").replaceChildren(...(paths.length ? ["The target differs in ", ...paths.flatMap((name, i) => [i > 0 ? ", " : "", el("code", {}, name)])] : []));

    if (answer.event_json) mark(byID("letter-event"), answer.event_json, paths.flatMap((name) => [`fullDocument.${name}`, `updateDescription.updatedFields.${name}`]));
    else setText(byID("letter-event"), answer.event_missing_because || answer.event_json_missing_because);

    if (answer.target_json) mark(byID("letter-target"), answer.target_json, paths);
    else setText(byID("letter-target"), answer.target_json_missing_because);
    say(byID("letter-refused"), "");
  } catch (problem) {
    if (own === turn) say(byID("letter-refused"), explain(problem));

    return;
  }

  byID("letter-masked").hidden = true;
  byID("letter-content").hidden = false;
  byID("letter-event").focus();

  for (const side of ["letter-event", "letter-target"]) toFirstMark(byID(side));
}

// toFirstMark scrolls a side, and nothing around it, to where it differs.
function toFirstMark(side) {
  const first = side.querySelector("mark");
  if (first) side.scrollTop = first.offsetTop - side.offsetTop - side.clientHeight / 3;
}
