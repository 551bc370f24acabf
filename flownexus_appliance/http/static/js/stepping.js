// The keyboard's way through the points of a chart: a slider that lies over it, whose value a screen reader tells.
import { _ } from "./language.js";

const FAR = 10;
const STEPS = new Map([
  ["ArrowLeft", -1],
  ["ArrowDown", -1],
  ["ArrowRight", 1],
  ["ArrowUp", 1],
  ["PageDown", -FAR],
  ["PageUp", FAR],
  ["Home", -Infinity],
  ["End", Infinity],
]);
const ACTS = new Map([
  ["+", "in"],
  ["=", "in"],
  ["-", "out"],
  ["0", "reset"],
]);

/**
 * Lays the slider over `frame`. `step(by)` goes on by so many points, from the newest if there was none, and
 * gives {number, count, text}, or null where there are none; `leave()` forgets the point; `act(name)` zooms
 * and moves, as `TimeView.act`.
 */
export function stepping(frame, title, { step, leave, act }) {
  const slider = document.createElement("div");
  slider.className = "stepper";
  slider.tabIndex = 0;
  for (const [name, value] of [
    ["role", "slider"],
    ["aria-label", _("Values of %(title)s", { title })],
    ["aria-describedby", "chart-hint"],
    ["aria-valuemin", "0"],
    ["aria-valuemax", "0"],
    ["aria-valuenow", "0"],
    ["aria-valuetext", _("No value chosen")],
  ]) {
    slider.setAttribute(name, value);
  }

  const go = (by) => {
    const found = step(by);
    if (!found) return;
    slider.setAttribute("aria-valuemin", "1");
    slider.setAttribute("aria-valuemax", String(found.count));
    slider.setAttribute("aria-valuenow", String(found.number));
    slider.setAttribute("aria-valuetext", found.text);
  };
  slider.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const by = STEPS.get(event.key);
    if (by !== undefined && event.shiftKey && Math.abs(by) === 1) act(by < 0 ? "earlier" : "later");
    else if (by !== undefined) go(by);
    else if (ACTS.has(event.key)) act(ACTS.get(event.key));
    else if (event.key === "Escape") leave();
    else return;
    event.preventDefault();
  });
  slider.addEventListener("blur", leave);
  frame.append(slider);
}
