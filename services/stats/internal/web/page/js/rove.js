// Many buttons of which the tabulator reaches one: arrow keys go on from there.

const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

// rove looks after the buttons in an element, those that come later too, and calls onPick with the one pressed.
export function rove(within, onPick) {
  const all = () => [...within.querySelectorAll("button[data-key]")];

  const reach = (button) => {
    for (const other of all()) other.tabIndex = other === button ? 0 : -1;
  };

  within.addEventListener("focusin", (event) => event.target.dataset.key !== undefined && reach(event.target));
  within.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-key]");
    if (button) onPick(button.dataset.key, button);
  });
  within.addEventListener("keydown", (event) => {
    const buttons = all();
    const at = buttons.indexOf(event.target);
    const to = event.key === "Home" ? 0 : event.key === "End" ? buttons.length - 1 : at + (steps[event.key] ?? NaN);
    if (at < 0 || !buttons[to]) return;

    event.preventDefault();
    buttons[to].focus();
  });

  // To be called when buttons have come or gone, with the key of the one that had the focus.
  return (focused = null) => {
    const buttons = all();
    if (focused !== null && !within.contains(document.activeElement)) buttons.find((button) => button.dataset.key === focused)?.focus();
    if (buttons.length && !buttons.some((button) => button.tabIndex === 0)) reach(buttons[0]);
  };
}
