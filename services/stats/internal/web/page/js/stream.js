// The samples of a flow as they come. EventSource cannot show a token, so the stream is read here.

import { APIError, explain, flowPath, open } from "./api.js";

const silence = 5000; // ms without a sample after which the connection is made anew
const pause = 1000; // ms between two tries

// follow calls onStats for each sample and onProblem when they stop, until the returned function is called.
export function follow(flow, onStats, onProblem) {
  let ended = false;
  let abort = new AbortController();

  const run = async () => {
    while (!ended) {
      abort = new AbortController();

      try {
        await read(flow, abort, onStats);
        if (!ended) onProblem("The stats service ended the stream.");
      } catch (error) {
        if (!ended) onProblem(explain(error));
      }

      if (!ended) await new Promise((resolve) => setTimeout(resolve, pause));
    }
  };

  run();

  return () => {
    ended = true;
    abort.abort();
  };
}

async function read(flow, abort, onStats) {
  let timer = setTimeout(() => abort.abort(), 2 * silence);

  try {
    const response = await open(flowPath(flow, "events"), { signal: abort.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";

    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;

      clearTimeout(timer);
      timer = setTimeout(() => abort.abort(), silence);

      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      blocks.forEach((block) => take(block, onStats));
    }
  } catch (error) {
    throw error.name === "AbortError" ? new Error("it does not answer") : error;
  } finally {
    clearTimeout(timer);
  }
}

function take(block, onStats) {
  const line = (name) => block.split("\n").find((l) => l.startsWith(`${name}: `))?.slice(name.length + 2);
  const data = JSON.parse(line("data"));

  if (line("event") === "error") throw new APIError(0, data);

  onStats(data);
}
