// Where the page is, in its address: #flow=atlas-to-local&section=partitions. So a place can be sent to somebody.

const links = [...document.querySelectorAll("nav [data-section]")];
const sections = links.map((link) => link.dataset.section);

const address = (flow, section) => `#${new URLSearchParams({ flow, ...(section && { section }) })}`;

// place reads the address. What has no = is the name of a flow.
export function place() {
  const text = location.hash.slice(1);
  if (!text.includes("=")) return { flow: decode(text), section: "" };

  const of = new URLSearchParams(text);
  const section = of.get("section") ?? "";

  return { flow: of.get("flow") ?? "", section: sections.includes(section) ? section : "" };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

// setPlace makes the address and the links those of a flow.
export function setPlace(flow) {
  history.replaceState(null, "", address(flow, place().section));
  for (const link of links) link.href = address(flow, link.dataset.section);
}

// goTo shows a section and gives it the focus, from where the tabulator goes on.
export function goTo(section) {
  const title = document.getElementById(`${section}-title`);
  if (!title) return;

  title.tabIndex = -1;
  title.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: no-preference)").matches ? "smooth" : "auto" });
  title.focus({ preventScroll: true });
}
