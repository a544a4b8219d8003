// The pause of a flow: who stopped the writes to the target, and how to go on.

import { explain, post } from "./api.js";
import { byID, say, setText } from "./dom.js";
import { since, when } from "./format.js";

const whoStored = "relay-who";

const verbs = {
  pause: {
    button: "Pause flow …", title: "Pause flow", act: "Pause",
    note: "Nothing more is written to its target until somebody resumes it, whatever restarts meanwhile. The source is captured all the same: changes wait in the stream, which has a limit.",
  },
  resume: { button: "Resume flow …", title: "Resume flow", act: "Resume", note: "What has waited is written to the target, in order." },
};

export class Pause {
  #flow = "";
  #verb = "pause";

  constructor() {
    byID("hold").onclick = () => this.#ask();
  }

  setFlow(flow) {
    this.#flow = flow;
    byID("hold").hidden = true;
    say(byID("held"), "");
  }

  show(stats) {
    const pause = stats.pause;
    this.#verb = pause ? "resume" : "pause";

    // Nobody knows whether it is paused while the target cannot be asked.
    byID("hold").hidden = !pause && stats.processed_changes === undefined;
    setText(byID("hold"), verbs[this.#verb].button);
    say(byID("held"), pause && `⏸ Paused by ${pause.by} since ${when(pause.since)} (${since(pause.since)})${pause.reason ? `: ${pause.reason}` : ""}`);
  }

  #ask() {
    const [flow, verb] = [this.#flow, this.#verb];
    const dialog = byID("hold-dialog");

    setText(byID("hold-title"), `${verbs[verb].title} ${flow}`);
    setText(byID("hold-note"), verbs[verb].note);
    setText(byID("hold-do"), verbs[verb].act);
    byID("hold-who").value = localStorage.getItem(whoStored) ?? "";
    byID("hold-why").value = "";
    byID("hold-do").disabled = false;
    say(byID("hold-problem"), "");

    byID("hold-cancel").onclick = () => dialog.close();
    byID("hold-form").onsubmit = async (event) => {
      event.preventDefault();

      const who = byID("hold-who").value.trim();
      byID("hold-do").disabled = true;
      localStorage.setItem(whoStored, who);

      try {
        await post(`/v1/flows/${encodeURIComponent(flow)}:${verb}`, { requested_by: who, reason: byID("hold-why").value.trim() });
        dialog.close();
        document.dispatchEvent(new Event("acted"));
      } catch (error) {
        say(byID("hold-problem"), explain(error));
        byID("hold-do").disabled = false;
      }
    };

    dialog.showModal();
    byID(byID("hold-who").value ? "hold-why" : "hold-who").focus();
  }
}
