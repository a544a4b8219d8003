// How far an action on dead letters is, until nothing of it is under way any more. The service reads that from the records:
// it is right whoever was restarted meanwhile, this page too.

import { APIError, explain, flowPath, get } from "./api.js";
import { byID, el, say, setText } from "./dom.js";
import { count, error, namespace } from "./format.js";

const every = 500; // ms
const stored = "relay-operation";
const mostShown = 5; // of those that failed again
const titles = { replay: "Replay", refetch: "Refetch", discard: "Discard" };

let turn = 0; // of the operation that is followed

// follow shows an operation; onEnd is called when it is done, onFailed with its name when the person wants to see what
// failed again.
export function followOperation(flow, name, onEnd, onFailed) {
  const own = ++turn;

  sessionStorage.setItem(stored, JSON.stringify({ flow, name }));
  byID("operation").hidden = false;
  setText(byID("operation-title"), "Looking …");
  setText(byID("operation-counts"), "");
  byID("operation").dataset.failed = "false";
  byID("operation-bar").removeAttribute("value");
  byID("operation-failures").replaceChildren();
  byID("operation-failed").hidden = true;
  byID("operation-failed").onclick = () => onFailed(name);
  byID("operation-close").onclick = hideOperation;
  say(byID("operation-problem"), "");

  const ask = async () => {
    if (own !== turn) return;

    try {
      const { operation } = await get(flowPath(flow, `deadLetterOperations/${name.split("/").map(encodeURIComponent).join("/")}`));
      if (own !== turn) return;

      show(operation);
      if (operation.done) {
        onEnd(operation);

        return;
      }
    } catch (problem) {
      if (own !== turn) return;
      if (problem instanceof APIError && problem.status === 404) {
        hideOperation();

        return;
      }

      say(byID("operation-problem"), `${explain(problem)} It goes on all the same.`);
    }

    setTimeout(ask, every);
  };

  ask();
}

// resume follows what was followed before the page was loaded again.
export function resumeOperation(flow, onEnd, onFailed) {
  hide();

  const last = JSON.parse(sessionStorage.getItem(stored) ?? "null");
  if (last?.flow === flow) followOperation(flow, last.name, onEnd, onFailed);
}

function hide() {
  turn++;
  byID("operation").hidden = true;
}

function hideOperation() {
  sessionStorage.removeItem(stored);
  hide();
}

// counts says what became of an operation's records.
export function counts(o) {
  const parts = [
    ["waiting", o.waiting], ["applied", o.applied], ["discarded", o.discarded], ["superseded", o.superseded],
    ["changed again by somebody", o.acted_on_again], ["failed again", o.failed_again],
  ];

  return parts.filter(([, n]) => n !== "0").map(([name, n]) => `${count(n)} ${name}`).join(" · ") || "nothing to do";
}

function show(o) {
  const changed = Number(o.outcome?.changed ?? 0);
  const bar = byID("operation-bar");

  setText(byID("operation-title"), `${titles[o.action] ?? o.action}${o.done ? " done" : ""}`);

  if (changed > 0) {
    bar.max = changed;
    bar.value = changed - Number(o.waiting);
  } else if (o.done) {
    bar.max = bar.value = 1;
  }

  setText(byID("operation-counts"), counts(o));

  const more = Number(o.failed_again) - Math.min(o.failures.length, mostShown);
  byID("operation-failures").replaceChildren(
    ...o.failures.slice(0, mostShown).map((letter) => el("li", {}, `${namespace(letter.namespace)}: ${error(letter.error, letter.error_code)} `, el("code", {}, letter.name))),
    ...(more > 0 ? [el("li", {}, `and ${count(more)} more`)] : []),
  );
  byID("operation-failed").hidden = o.failed_again === "0";
  byID("operation").dataset.failed = String(o.failed_again !== "0");
  say(byID("operation-problem"), o.failed_because && `It ended early: ${o.failed_because}. The same action again does the rest.`);
}
