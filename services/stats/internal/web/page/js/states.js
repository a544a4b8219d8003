// Since when things are as they are. Where samples do not say it, the page remembers what it has seen: of what was so
// already when it began to look, only the least is known.

import { clock, span } from "./format.js";

const longestGap = 5000; // ms between two samples after which nobody knows what was in between

// since says since when and for how long, in words.
export const since = (time, now) => `since ${clock(time)} (${span(Math.max(0, now - time) / 1000)})`;

export class States {
  #states = new Map(); // key → { state, time, seen }
  #last = -Infinity; // time of the last sample

  clear() {
    this.#states.clear();
    this.#last = -Infinity;
  }

  // note takes what a sample of that time says: state by key.
  note(time, states) {
    const watched = time - this.#last <= longestGap;
    const next = new Map();

    for (const [key, state] of states) {
      const before = this.#states.get(key);
      next.set(key, watched && before?.state === state ? before : { state, time, seen: watched });
    }

    this.#states = next;
    this.#last = time;
  }

  // age is for how long it has been so, as far as it was seen, in ms.
  age(key) {
    return this.#last - (this.#states.get(key)?.time ?? this.#last);
  }

  // since says for how long, in words.
  since(key) {
    const known = this.#states.get(key);
    if (!known) return "";

    return known.seen ? since(known.time, this.#last) : `for ${span(this.age(key) / 1000)} at least`;
  }
}
