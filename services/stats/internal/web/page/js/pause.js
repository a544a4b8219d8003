// What people have paused: the flow, or namespaces of it, by whom, and how to go on.

import { explain, post } from "./api.js";
import { byID, el, openDialog, say, setText } from "./dom.js";
import { namespace, since, when } from "./format.js";

const whoStored = "relay-who";

const kinds = {
  pause: {
    title: "Pause", act: "Pause",
    note: "Nothing more of it is written to the target until somebody resumes it, whatever restarts meanwhile. The source is captured all the same: changes wait.",
  },
  resume: { title: "Resume", act: "Resume", note: "What has waited is written to the target, in order." },
};

// split takes the name of a database or collection apart; a collection's may have dots.
function split(name) {
  const [database, ...rest] = name.split(".");

  return { database, collection: rest.join(".") };
}

export class Pause {
  #flow = "";
  #turn = 0; // of the dialog: an answer to one that is closed is late

  constructor() {
    byID("hold").onclick = () => this.#ask("pause", "");
  }

  setFlow(flow) {
    this.#flow = flow;
    this.#list([]);
    byID("hold").hidden = true;
  }

  show(stats) {
    const paused = [...(stats.pause ? [{ name: "", pause: stats.pause }] : []), ...stats.paused_namespaces.map((p) => ({ name: namespace(p.namespace), pause: p.pause }))];

    // Nobody knows whether it is paused while the target cannot be asked.
    byID("hold").hidden = Boolean(stats.pause) || stats.processed_changes === undefined;
    setText(byID("hold"), "Pause …");
    this.#list(paused);
  }

  #list(paused) {
    const list = byID("held");
    const key = JSON.stringify(paused);

    if (list.dataset.key !== key) {
      list.dataset.key = key;
      list.hidden = paused.length === 0;
      list.replaceChildren(...paused.map(({ name }) => {
        const button = el("button", { type: "button" }, name ? "Resume …" : "Resume flow …");
        button.onclick = () => this.#ask("resume", name);

        return el("li", {}, el("span"), button);
      }));
    }

    paused.forEach(({ name, pause }, i) => setText(list.children[i].firstChild,
      `${name || "The flow"} is paused by ${pause.by} since ${when(pause.since)} (${since(pause.since)})${pause.reason ? `: ${pause.reason}` : ""}`));
  }

  // ask opens the dialog; the empty name is the flow as a whole.
  #ask(kind, name) {
    const dialog = byID("hold-dialog");
    const flow = this.#flow;

    setText(byID("hold-title"), `${kinds[kind].title} ${name || `flow ${flow}`}`);
    setText(byID("hold-note"), kinds[kind].note);
    setText(byID("hold-do"), kinds[kind].act);
    byID("hold-what-label").hidden = kind === "resume";
    byID("hold-what").value = "";
    byID("hold-who").value = localStorage.getItem(whoStored) ?? "";
    byID("hold-why").value = "";
    byID("hold-do").disabled = false;
    say(byID("hold-problem"), "");

    byID("hold-cancel").onclick = () => dialog.close();
    byID("hold-form").onsubmit = (event) => {
      event.preventDefault();
      this.#send(flow, kind, kind === "resume" ? name : byID("hold-what").value.trim());
    };

    openDialog(dialog, () => { this.#turn++; });
    byID(byID("hold-who").value ? "hold-why" : "hold-who").focus();
  }

  async #send(flow, kind, name) {
    const own = this.#turn;
    const who = byID("hold-who").value.trim();

    byID("hold-do").disabled = true;
    localStorage.setItem(whoStored, who);

    try {
      await post(`/v1/flows/${encodeURIComponent(flow)}:${kind}`, {
        requested_by: who, reason: byID("hold-why").value.trim(), ...(name && { namespaces: [split(name)] }),
      });
      if (own === this.#turn) byID("hold-dialog").close();
      document.dispatchEvent(new Event("acted"));
    } catch (error) {
      if (own !== this.#turn) return;

      say(byID("hold-problem"), explain(error));
      byID("hold-do").disabled = false;
    }
  }
}
