// The page that compares devices: each choice asks for the page anew, whose legend the chart then draws.
import { moveTime, showLive, writeMoments, writeTimes } from "./app.js";
import { Comparison } from "./comparison.js";
import { getPage } from "./fetching.js";
import { writeValue } from "./live.js";
import { Stream } from "./stream.js";
import { TimeView } from "./timeview.js";

const SEARCH_PAUSE_MS = 250;
const SLIDE_MS = 5000;
const REGIONS = ["told", "traces", "offers"];

const page = document.querySelector("[data-compare]");
const form = page.querySelector("[data-chooser]");
const section = page.querySelector("[data-comparison]");
const view = new TimeView(section, Number(page.dataset.since));
const comparison = new Comparison(section, view);
let stream = null;
let loading = null;
let timer = 0;

function traces() {
  return [...page.querySelectorAll("[data-series]")];
}

function chosen() {
  return traces().map((element) => element.dataset.series);
}

/** Shows other series: the address first, then what the box makes of it. */
async function show(keys) {
  clearTimeout(timer);
  const address = new URL(location.href);
  for (const name of ["series", "kind", "q"]) address.searchParams.delete(name);
  for (const key of keys) address.searchParams.append("series", key);
  for (const name of ["kind", "q"]) {
    const value = form?.elements[name].value.trim();
    if (value) address.searchParams.set(name, value);
  }
  history.replaceState(null, "", address);
  loading?.abort();
  loading = new AbortController();
  try {
    takeOver(await getPage(address.href, loading.signal));
  } catch {
    // Overtaken by the next choice, or the box is away, which the stream's sign tells.
  }
}

function takeOver(fresh) {
  const focused = document.activeElement.value ?? document.activeElement.dataset.remove;
  for (const name of REGIONS) {
    const region = fresh.querySelector(`[data-region="${name}"]`);
    page.querySelector(`[data-region="${name}"]`).replaceChildren(...region.childNodes);
  }
  page.querySelector("[data-none]").hidden = traces().length > 0;
  page.querySelector(`[data-region="offers"] [value="${CSS.escape(focused)}"]:not([type="hidden"])`)?.focus();
  attach();
  writeMoments();
  writeTimes();
}

function attach() {
  comparison.take(traces());
  const endpoints = [...new Set(traces().map((element) => element.dataset.endpoint))];
  // Without a device to listen to, a stream would tell of all of them.
  document.getElementById("live").hidden = endpoints.length === 0;
  if (!endpoints.length) return;
  if (stream) stream.follow(endpoints);
  else stream = listen(endpoints);
}

function listen(endpoints) {
  const handlers = { values: onValues, reset: () => comparison.reload(), state: showLive };
  return new Stream(handlers, endpoints, document.body.dataset.streamAfter);
}

function onValues({ endpoint, values }) {
  const newest = new Map();
  for (const sample of values) {
    comparison.add(endpoint, sample);
    if (sample.time_ms >= (newest.get(sample.path)?.time_ms ?? -Infinity)) newest.set(sample.path, sample);
  }
  for (const element of traces()) {
    const sample = element.dataset.endpoint === endpoint ? newest.get(element.dataset.path) : undefined;
    const value = element.querySelector(".value");
    if (!sample || !value) continue;
    writeValue(value, sample);
    moveTime(element.querySelector("time[data-ago]"), sample.time_ms);
  }
}

function setUpForm() {
  form.addEventListener("change", ({ target }) => {
    if (target.type === "checkbox") {
      show(target.checked ? [...chosen(), target.value] : chosen().filter((key) => key !== target.value));
    } else {
      show(chosen());
    }
  });
  form.elements.q.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => show(chosen()), SEARCH_PAUSE_MS);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show(chosen());
  });
}

page.addEventListener("click", (event) => {
  const link = event.target.closest("[data-remove]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(chosen().filter((key) => key !== link.dataset.remove));
});
if (form) setUpForm();
attach();
// The window moves on although nothing arrives, and what changed while nobody looked is drawn.
const slide = () => {
  if (!document.hidden) comparison.update();
};
setInterval(slide, SLIDE_MS);
document.addEventListener("visibilitychange", slide);
const redraw = () => comparison.redraw();
document.addEventListener("theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
