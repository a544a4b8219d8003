// Replay, refetch and discard, after a question that says how many.

import { explain, flowPath, post } from "./api.js";
import { byID, openDialog, say, setText } from "./dom.js";
import { count } from "./format.js";

const verbs = {
  replay: { name: "Replay", done: "Replayed", note: "They are tried again from the first attempt on; what fails again becomes a dead letter again." },
  refetch: { name: "Refetch", done: "Set to refetch:", note: "The source's documents as they are now take the place of the events; what the source has not any more is deleted. What the target refuses becomes a dead letter again." },
  discard: { name: "Discard", done: "Discarded", note: "They are given up for good: their documents keep what the target has. Bring them up to the source by hand first, or accept the difference." },
};
const whoStored = "relay-who";
let turn = 0; // of the question: a count for one that is closed is late

// act asks, does it, and returns what was done in words with the name of the operation; null when the person did not want
// to.
export function act(flow, verb, selection) {
  const dialog = byID("confirm");
  const send = (more) => post(flowPath(flow, `deadLetters:${verb}`), { selection, requested_by: byID("confirm-who").value.trim() || "page", ...more });
  let answer = null;
  let sending = null; // what was confirmed is done, also when the question is closed meanwhile
  let phrase = "";

  setText(byID("confirm-title"), `${verbs[verb].name} dead letters`);
  setText(byID("confirm-what"), "Counting …");
  setText(byID("confirm-note"), verbs[verb].note);
  setText(byID("confirm-do"), verbs[verb].name);
  byID("confirm-do").className = verb === "discard" ? "danger" : "";
  byID("confirm-do").disabled = true;
  byID("confirm-who").value = localStorage.getItem(whoStored) ?? "";
  byID("confirm-why").value = byID("confirm-typed").value = "";
  say(byID("confirm-problem"), "");

  // A replay or refetch by name can be taken back by nobody, but harms nobody: a phrase is asked for the rest.
  const asks = verb === "discard" || "filter" in selection;
  byID("confirm-phrase-label").hidden = !asks;
  byID("confirm-typed").oninput = () => { byID("confirm-do").disabled = !phrase || (asks && byID("confirm-typed").value.trim() !== phrase); };

  return new Promise((resolve) => {
    openDialog(dialog, () => {
      turn++;
      Promise.resolve(sending).then(() => resolve(answer));
    });

    const own = turn;

    byID("confirm-cancel").onclick = () => dialog.close();
    byID("confirm-form").onsubmit = (event) => {
      event.preventDefault();
      byID("confirm-do").disabled = true;
      localStorage.setItem(whoStored, byID("confirm-who").value.trim());
      sending = confirmed();
    };

    async function confirmed() {
      try {
        const { outcome, operation } = await send({ reason: byID("confirm-why").value.trim() });
        answer = { text: describe(verb, outcome), operation };
        if (own === turn) dialog.close();
      } catch (error) {
        if (own !== turn) return;
        say(byID("confirm-problem"), explain(error));
        byID("confirm-do").disabled = false;
      }
    }

    byID(byID("confirm-who").value ? "confirm-why" : "confirm-who").focus();

    send({ validate_only: true }).then(({ outcome }) => {
      if (own !== turn) return;

      setText(byID("confirm-what"), `This will ${verb} ${count(outcome.changed)} of ${count(outcome.matched)} records of flow ${flow}${named(selection)}.${because(outcome)}`);
      if (outcome.changed === "0") return;

      phrase = `${verb} ${outcome.changed}`;
      setText(byID("confirm-phrase"), phrase);
      byID("confirm-typed").oninput();
    }, (error) => {
      if (own !== turn) return;

      setText(byID("confirm-what"), "");
      say(byID("confirm-problem"), explain(error));
    });
  });
}

const named = ({ names }) => (names?.names.length === 1 ? `: ${names.names[0]}` : "");

const because = (outcome) => (outcome.refusals.length ? ` The others stay as they are, the first because: ${outcome.refusals[0].message}.` : "");

const describe = (verb, outcome) => `${verbs[verb].done} ${count(outcome.changed)} of ${count(outcome.matched)}.${because(outcome)}`;
