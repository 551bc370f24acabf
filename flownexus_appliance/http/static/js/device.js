// The page of a device: charts that load in sight, values, state and facts that stay current.
import { boxTime, showLive, writeMoments, writeTimes, moveTime } from "./app.js";
import { Chart } from "./chart.js";
import { freshPage } from "./fetching.js";
import { throttled, valueElements, writeHeard, writeState, writeValue } from "./live.js";
import { Stream } from "./stream.js";
import { readTimeline, setUpButtons } from "./timeline.js";
import { Tree } from "./tree.js";

const REFRESH_PAUSE_MS = 2500;
const SLIDE_MS = 5000;
const TIMELINE_PAUSE_MS = 1000;

const page = document.querySelector("[data-device]");
const endpoint = page.dataset.device;
const charts = new Map(); // path -> Chart
const strange = new Set();
let values = valueElements(page);

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      const chart = charts.get(target.dataset.chart);
      if (isIntersecting) chart.show();
      else chart.visible = false;
    }
  },
  { rootMargin: "250px" },
);

function attachCharts() {
  for (const element of page.querySelectorAll("[data-chart]")) {
    const { chart: path } = element.dataset;
    if (charts.has(path)) continue;
    charts.set(path, new Chart(element, endpoint, chosenRange(), Number(page.dataset.since)));
    watcher.observe(element);
  }
}

function chosenRange() {
  const link = page.querySelector(".ranges [aria-current]");
  return { seconds: Number(link.dataset.seconds), text: link.textContent.trim() };
}

function setUpRanges() {
  page.querySelector(".ranges").addEventListener("click", (event) => {
    const link = event.target.closest("a[data-range]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    page.querySelector(".ranges [aria-current]").removeAttribute("aria-current");
    link.setAttribute("aria-current", "true");
    history.replaceState(null, "", link.href);
    for (const chart of charts.values()) chart.range = chosenRange();
  });
}

/** Reads the page anew and takes over the facts, the tree, and charts that were not there before. */
async function reread() {
  const fresh = await freshPage();
  if (!fresh) return;
  const open = new Map([...page.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  tree.through(() => {
    for (const name of ["head", "told", "tree", "identity", "facts"]) {
      const old = page.querySelector(`[data-region="${name}"]`);
      const region = fresh.querySelector(`[data-region="${name}"]`);
      if (name === "head") old.dataset.state = region.dataset.state;
      old.replaceChildren(...region.childNodes);
    }
    for (const [id, was] of open) document.getElementById(id)?.toggleAttribute("open", was);
  });
  for (const name of ["main", "other"]) {
    const list = page.querySelector(`[data-charts="${name}"]`);
    for (const element of [...fresh.querySelectorAll(`[data-charts="${name}"] > [data-chart]`)]) {
      if (!charts.has(element.dataset.chart)) list.append(element);
    }
    list.parentElement.hidden = list.childElementCount === 0;
  }
  page.querySelector("[data-other-count]").textContent = page.querySelector('[data-charts="other"]').childElementCount;
  values = valueElements(page);
  attachCharts();
  writeMoments();
  writeTimes();
}

const refresh = throttled(reread, REFRESH_PAUSE_MS);
// The stream's sign tells when the box is away.
const refreshTimeline = throttled(() => readTimeline(page, endpoint).catch(() => {}), TIMELINE_PAUSE_MS);
const tree = new Tree(page, location.pathname, refreshTimeline);

function onValues({ received_ms: receivedMs, values: samples }) {
  for (const sample of samples) {
    charts.get(sample.path)?.add(sample);
    const elements = values.get(sample.path);
    if (elements) {
      for (const element of elements) {
        writeValue(element, sample);
        moveTime(element.closest("tr, .chart")?.querySelector("time[data-ago]"), sample.time_ms);
      }
    } else if (!strange.has(sample.path)) {
      strange.add(sample.path);
      refresh();
    }
  }
  writeHeard(page, receivedMs);
}

function onOperation(event) {
  tree.onOperation(event);
  refreshTimeline();
  if (page.querySelector(`[data-region="told"] [data-told="${event.id}"]`)) refresh();
}

function onReset() {
  refresh();
  refreshTimeline();
  tree.onReset();
  for (const chart of charts.values()) if (chart.visible) chart.reload();
}

setUpRanges();
setUpButtons(page.querySelector('[data-region="timeline"]'), refreshTimeline);
attachCharts();
// The window moves on although nothing arrives.
setInterval(() => {
  if (!document.hidden) for (const chart of charts.values()) chart.update();
}, SLIDE_MS);
for (const redraw of [() => charts.forEach((chart) => chart.redraw())]) {
  document.addEventListener("theme", redraw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
}
new Stream(
  {
    values: onValues,
    presence: ({ presence }) => writeState(page.querySelector(".device-head"), presence),
    registration: ({ time_ms: timeMs }) => {
      writeHeard(page, timeMs);
      refresh();
    },
    operation: onOperation,
    observation: refresh,
    reset: onReset,
    state: showLive,
  },
  [endpoint],
  document.body.dataset.streamAfter,
);
