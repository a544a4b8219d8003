// The dead letters: groups, filter, list, selection. What is done to them is in act.js, one of them is in letter.js.

import { act } from "./act.js";
import { counts, followOperation, resumeOperation } from "./operation.js";
import { explain, flowPath, get } from "./api.js";
import { byID, el, reconcile, row, say, setText } from "./dom.js";
import { count, error, namespace, when, word } from "./format.js";
import { showLetter } from "./letter.js";

const pageSize = 50;
const mostListed = 1000; // that one answer may have
const pause = 3000; // ms between two looks while dead letters come all the time
const stale = 30000; // ms after which the list is asked for again although their number is the same
const verbs = ["replay", "refetch", "discard"];

export class Letters {
  #flow = "";
  #count = null; // as the last sample said
  #listed = []; // the letters of the table
  #next = ""; // token of the next page
  #selected = new Set(); // names
  #matching = false; // all that match are selected, listed or not
  #operation = ""; // only what failed again in this one
  #asked = ""; // the filter of the last question
  #applied = {}; // the filter of what is listed, whatever was typed since
  #turn = 0; // of the last question: answers to earlier ones are late
  #loaded = 0; // when it was asked
  #waiting = 0; // timer of the next one
  #asking = 0; // questions under way

  constructor() {
    byID("filter").onsubmit = (event) => {
      event.preventDefault();
      this.load();
    };
    byID("filter").onreset = () => setTimeout(() => this.load());
    byID("letters-more").onclick = () => this.load(this.#next);
    byID("select-all").onchange = (event) => this.#selectAll(event.target.checked);

    byID("select-matching").onclick = () => {
      this.#matching = !this.#matching;
      this.#selected.clear();
      this.#show();
    };
    byID("letters-of-clear").onclick = () => this.#only("");

    // What dies while a person reads the question is not part of what they confirm.
    for (const verb of verbs) {
      byID(`${verb}-selected`).onclick = () => this.#act(verb, this.#matching
        ? { filter: { until: new Date().toISOString(), ...this.#applied } } : { names: { names: [...this.#selected] } });
    }
  }

  setFlow(flow) {
    this.#flow = flow;
    this.#count = null;
    this.#listed = [];
    this.#loaded = 0;
    this.#selected.clear();
    this.#matching = false;
    this.#operation = "";
    say(byID("letters-done"), "");
    resumeOperation(flow, () => {}, (name) => this.#only(name));
  }

  // only lists what failed again in an operation, or everything.
  #only(operation) {
    this.#operation = operation;
    byID("filter-state").value = "DEAD";
    this.load();
  }

  // update loads again when the number of dead letters has changed, and now and then while there are some.
  update(stats) {
    const n = stats.dead_letters;
    const badge = byID("letters-count");
    setText(badge, n === undefined ? "unknown" : count(n));
    badge.dataset.some = String(Number(n) > 0);

    if (this.#count !== n || (n !== "0" && Date.now() - this.#loaded > stale)) {
      this.#count = n;
      this.#waiting ||= setTimeout(() => this.#reload(), Math.max(0, this.#loaded + pause - Date.now()));
    }
  }

  // reload waits for a question of a person that is under way, whose answer would be late else.
  #reload() {
    this.#waiting = 0;

    if (this.#asking > 0) this.#count = null; // the next sample asks again
    else this.load();
  }

  #filter() {
    const [database, ...rest] = byID("filter-namespace").value.trim().split(".");
    const code = byID("filter-code").value.trim();
    const age = byID("filter-since").value;

    return {
      ...(database && { namespace: { database, collection: rest.join(".") } }),
      ...(age && { since: new Date(Date.now() - Number(age) * 1000).toISOString() }),
      ...(code && { error_code: Number(code) }),
      ...(this.#operation && { operation: this.#operation }),
    };
  }

  async load(token = "") {
    // A page more leaves those that are listed as they were: if they were to be asked for anew, the next sample does it.
    if (token && (this.#waiting || this.#asking > 0)) this.#count = null;

    clearTimeout(this.#waiting);
    this.#waiting = 0;
    this.#loaded = Date.now();

    const turn = ++this.#turn;
    const filter = this.#filter();
    const asked = JSON.stringify([byID("filter-state").value, { ...filter, since: byID("filter-since").value }]);

    let size = pageSize;

    if (asked === this.#asked) { // as many as are listed, so that none goes that somebody looks at
      if (!token) size = Math.min(Math.max(pageSize, this.#listed.length), mostListed);
    } else { // what is selected is of another list
      this.#asked = asked;
      this.#selected.clear();
      this.#matching = false;
    }

    const query = {
      "filter.namespace.database": filter.namespace?.database, "filter.namespace.collection": filter.namespace?.collection,
      "filter.since": filter.since, "filter.error_code": filter.error_code, "filter.operation": filter.operation,
    };

    this.#asking++;

    try {
      const state = byID("filter-state").value;
      const list = get(flowPath(this.#flow, "deadLetters"), { ...query, states: `PARKED_STATE_${state}`, page_size: size, page_token: token });
      const [page, found] = await Promise.all([list, token ? null : get(flowPath(this.#flow, "deadLetterGroups"))]);
      if (turn !== this.#turn) return;
      if (this.#operation && !token && page.dead_letters.length === 0) return this.#only(""); // all of them are dealt with

      this.#applied = filter;
      this.#listed = token ? [...this.#listed, ...page.dead_letters] : page.dead_letters;
      this.#next = page.next_page_token;
      if (found) this.#showGroups(found);
      this.#show();
      say(byID("letters-problem"), "");
    } catch (problem) {
      if (turn === this.#turn) say(byID("letters-problem"), `The list is of before: ${explain(problem)}`);
    } finally {
      this.#asking--;
    }
  }

  #showGroups(found) {
    const current = `${byID("filter-namespace").value.trim()} ${byID("filter-code").value.trim()}`;

    const buttons = found.groups.map((group) => {
      const ns = namespace(group.namespace);
      const button = el("button", { type: "button", "aria-pressed": String(current === `${ns} ${group.error_code}`) },
        el("b", {}, count(group.dead_letters)), `${ns} · ${error(group.error || "no error", group.error_code)}`);

      button.onclick = () => {
        const chosen = button.getAttribute("aria-pressed") === "true";
        byID("filter-namespace").value = chosen ? "" : ns;
        byID("filter-code").value = chosen ? "" : group.error_code;
        byID("filter-state").value = "DEAD";
        this.load();
      };

      return button;
    });

    byID("groups").replaceChildren(...buttons, ...(found.incomplete ? [el("span", { class: "fine" }, "and more")] : []));
  }

  #show() {
    const names = new Set(this.#listed.map((letter) => letter.name));
    for (const name of this.#selected) if (!names.has(name)) this.#selected.delete(name);

    const focused = document.activeElement?.dataset?.focus;
    reconcile(byID("letters"), this.#listed, (letter) => this.#row(letter));
    byID("letters-none").hidden = this.#listed.length > 0;
    byID("letters-more").hidden = !this.#next;
    byID("letters-of").hidden = !this.#operation;
    setText(byID("letters-of-text"), `Only what failed again in ${this.#operation}`);
    this.#showSelection();

    if (focused && document.activeElement?.dataset?.focus !== focused) [...document.querySelectorAll("[data-focus]")].find((node) => node.dataset.focus === focused)?.focus();
  }

  #row(letter) {
    const box = el("input", { type: "checkbox", value: letter.name, "aria-label": `Select ${letter.name}`, "data-focus": `box ${letter.name}` });
    box.onchange = () => {
      if (box.checked) this.#selected.add(letter.name);
      else this.#selected.delete(letter.name);
      this.#showSelection();
    };

    const details = el("button", { type: "button", "data-focus": `show ${letter.name}`, "aria-label": `Details of ${letter.name}` }, "Details");
    details.onclick = () => showLetter(this.#flow, letter.name, (verb) => this.#act(verb, { names: { names: [letter.name] } }));

    if (letter.unreadable_because) return row(box, "", "", letter.unreadable_because, "", "", details);

    return row(box, namespace(letter.namespace), letter.operation, error(letter.error || word("PARKED_REASON", letter.reason).toLowerCase(), letter.error_code),
      el("td", { class: "number" }, String(letter.attempts)), el("td", { class: "nowrap" }, when(letter.change_time)), details);
  }

  #selectAll(on) {
    this.#matching = false;
    this.#selected = new Set(on ? this.#listed.map((letter) => letter.name) : []);
    this.#show();
  }

  #showSelection() {
    const n = this.#selected.size;
    const matching = byID("select-matching");

    for (const verb of verbs) byID(`${verb}-selected`).disabled = n === 0 && !this.#matching;

    for (const box of byID("letters").tBodies[0].querySelectorAll("input")) {
      box.checked = this.#matching || this.#selected.has(box.value);
      box.disabled = this.#matching;
    }

    matching.disabled = byID("filter-state").value !== "DEAD"; // nothing can be done to others
    matching.setAttribute("aria-pressed", String(this.#matching));
    byID("select-all").checked = this.#matching || (n > 0 && n === this.#listed.length);

    if (this.#matching) setText(byID("selection"), "All that match the filter are selected, listed or not.");
    else setText(byID("selection"), n === 0 ? "None is selected." : `${count(n)} selected.`);
  }

  #said(text, failed) {
    byID("letters-done").className = failed ? "problem" : "done";
    say(byID("letters-done"), text);
  }

  async #act(verb, selection) {
    say(byID("letters-done"), "");

    const done = await act(this.#flow, verb, selection);
    if (!done) return;

    this.#said(done.text, false);
    this.#selected.clear();
    this.#matching = false;
    this.load();
    followOperation(this.#flow, done.operation, (o) => {
      this.#said(`${done.text} In the end: ${counts(o)}.`, o.failed_again !== "0");
      this.load();
    }, (name) => this.#only(name));
    document.dispatchEvent(new Event("acted"));
  }
}
