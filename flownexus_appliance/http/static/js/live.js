// Puts what the stream tells into the page: values, states, times. No element changes its place.
import { moveTime } from "./app.js";
import { valueText } from "./format.js";
import { TEXTS } from "./texts.js";

/** The value elements below `root`, by path. One path may be shown more than once. */
export function valueElements(root) {
  const found = new Map();
  for (const element of root.querySelectorAll(".value[data-path]")) {
    const { path } = element.dataset;
    if (!found.has(path)) found.set(path, []);
    found.get(path).push(element);
  }
  return found;
}

/** Writes a sample into an element, unless what stands there is newer. */
export function writeValue(element, sample) {
  if (Number(element.dataset.time ?? 0) > sample.time_ms) return;
  element.dataset.time = String(sample.time_ms);
  const { kind, labels } = element.dataset;
  const text = valueText(sample.value, kind, labels && JSON.parse(labels), sample.data_type);
  element.classList.remove("unread"); // its first value
  if (element.textContent !== text) {
    element.textContent = text;
    flash(element);
  }
}

/** Shows a device's state at every place below `root` that tells of it. */
export function writeState(root, state) {
  if (!(state in TEXTS.states)) return;
  if (root.dataset.state !== undefined) root.dataset.state = state;
  for (const badge of root.querySelectorAll(".state[data-state]")) {
    if (badge.dataset.state === state) continue;
    badge.dataset.state = state;
    badge.querySelector(".state-text").textContent = TEXTS.states[state];
    const use = badge.querySelector("use");
    use.setAttribute("href", use.getAttribute("href").replace(/#.*$/, `#${state}`));
  }
  for (const note of root.querySelectorAll(".state-note")) note.textContent = TEXTS.notes[state];
}

/** Moves "last heard" below `root` on. */
export function writeHeard(root, timeMs) {
  moveTime(root.querySelector("[data-heard] time"), timeMs);
}

/** A selector that finds an element again among fresh ones: by what it chooses, asks for, folds or leads to. */
export function nameOf(element) {
  const { key } = element.dataset;
  const named = (name) => `[${name}="${CSS.escape(element.getAttribute(name) ?? "")}"]`;
  if (key) return `[data-key="${CSS.escape(key)}"]`;
  if (element.id) return `#${CSS.escape(element.id)}`;
  if (element.matches("summary")) return `#${CSS.escape(element.parentElement.id)} > summary`;
  if (element.matches("button[value]")) return `button${named("value")}`;
  return named("href");
}

function flash(element) {
  element.classList.remove("fresh");
  requestAnimationFrame(() => element.classList.add("fresh"));
}

/** Calls `task` soon, once for any number of calls, and not again before `pauseMs` have passed. */
export function throttled(task, pauseMs) {
  let timer = 0;
  let last = -Infinity;
  return () => {
    if (timer) return;
    const wait = Math.max(50, last + pauseMs - performance.now());
    timer = setTimeout(() => {
      timer = 0;
      last = performance.now();
      task();
    }, wait);
  };
}
