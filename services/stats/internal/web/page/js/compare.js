// JSON on many lines, with those marked that belong to certain fields.

import { el } from "./dom.js";

// lines indents JSON without reading its values: a parser would round numbers and lose a second field of the same name.
// Each line has the path of the field that it belongs to, with dots.
export function lines(json) {
  const out = [];
  const within = []; // the open documents and arrays: the name of the present field, or the index
  let line = "";

  const end = () => {
    out.push({ text: line, path: within.map(({ name }) => name).join(".") });
    line = "  ".repeat(within.length);
  };

  for (let i = 0; i < json.length; i++) {
    const c = json[i];
    const top = within.at(-1);

    if (c === '"') {
      const from = i;
      for (i++; i < json.length && json[i] !== '"'; i++) if (json[i] === "\\") i++;

      const text = json.slice(from, i + 1);
      if (top?.named === false) [top.name, top.named] = [JSON.parse(text), true];
      line += text;
    } else if ((c === "{" && json[i + 1] === "}") || (c === "[" && json[i + 1] === "]")) {
      line += c + json[++i];
    } else if (c === "{" || c === "[") {
      line += c;
      end();
      within.push(c === "{" ? { name: "", named: false } : { name: 0 });
      line = "  ".repeat(within.length);
    } else if (c === "}" || c === "]") {
      end();
      within.pop();
      line = "  ".repeat(within.length) + c;
    } else if (c === ",") {
      line += c;
      end();
      if (top && "named" in top) top.named = false;
      else if (top) top.name++;
    } else line += c === ":" ? ": " : c;
  }

  end();

  return out;
}

// mark fills a node with JSON; lines of these paths, and of what is below them, are marked.
export function mark(node, json, paths) {
  const below = paths.map((path) => `${path}.`);
  const marked = (path) => paths.includes(path) || below.some((start) => path.startsWith(start));
  const parts = [];

  for (const { text, path } of lines(json)) {
    const on = marked(path);
    if (parts.at(-1)?.on === on) parts.at(-1).text += `\n${text}`;
    else parts.push({ on, text });
  }

  node.replaceChildren(...parts.flatMap(({ on, text }, i) => [i > 0 ? "\n" : "", on ? el("mark", {}, text) : text]));
}
