// The page of a device: charts that load in sight, values, state and facts that stay current.
import { showLive, writeMoments, writeTimes, moveTime } from "./app.js";
import { Chart } from "./chart.js";
import { freshPage } from "./fetching.js";
import { writeUpdate } from "./firmware_live.js";
import { nameOf, throttled, valueElements, writeHeard, writeState, writeValue } from "./live.js";
import { Stream } from "./stream.js";
import { TimeView } from "./timeview.js";
import { readTimeline, setUpButtons } from "./timeline.js";
import { Track } from "./track.js";
import { Tree } from "./tree.js";

const REFRESH_PAUSE_MS = 2500;
const SLIDE_MS = 5000;
const TIMELINE_PAUSE_MS = 1000;

const page = document.querySelector("[data-device]");
const endpoint = page.dataset.device;
const view = new TimeView(document.getElementById("charts"), Number(page.dataset.since));
const charts = new Map(); // element -> Chart or Track
const plotted = new Map(); // path -> those that show it
const strange = new Set();
let values = valueElements(page);

const watcher = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) charts.get(target).show();
      else charts.get(target).hide();
    }
  },
  { rootMargin: "250px" },
);

function attachCharts() {
  for (const element of page.querySelectorAll("[data-chart], [data-track]")) {
    if (charts.has(element)) continue;
    const chart = new (element.dataset.chart ? Chart : Track)(element, endpoint, view);
    charts.set(element, chart);
    watcher.observe(element);
    for (const path of pathsOf(element.dataset)) plotted.set(path, [...(plotted.get(path) ?? []), chart]);
  }
}

function pathsOf({ chart, latitude, longitude }) {
  return chart ? [chart] : [latitude, longitude];
}

/** Reads the page anew and takes over the facts, the tree, and charts that were not there before. */
async function reread() {
  const fresh = await freshPage();
  if (!fresh) return;
  const open = new Map([...page.querySelectorAll("details[id]")].map((one) => [one.id, one.open]));
  const focused = page.contains(document.activeElement) && nameOf(document.activeElement);
  tree.through(() => {
    for (const name of ["head", "told", "tree", "identity", "facts"]) {
      const old = page.querySelector(`[data-region="${name}"]`);
      const region = fresh.querySelector(`[data-region="${name}"]`);
      if (name === "head") old.dataset.state = region.dataset.state;
      old.replaceChildren(...region.childNodes);
    }
    for (const [id, was] of open) document.getElementById(id)?.toggleAttribute("open", was);
  });
  if (focused && document.activeElement === document.body) page.querySelector(focused)?.focus({ preventScroll: true });
  for (const name of ["main", "other"]) {
    const list = page.querySelector(`[data-charts="${name}"]`);
    const known = [...charts.keys()].map(({ dataset }) => dataset.chart ?? dataset.track);
    for (const element of [...fresh.querySelectorAll(`[data-charts="${name}"] > .chart`)]) {
      if (!known.includes(element.dataset.chart ?? element.dataset.track)) list.append(element);
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
  const newest = new Map();
  for (const sample of samples) {
    for (const chart of plotted.get(sample.path) ?? []) chart.add(sample);
    if (sample.time_ms >= (newest.get(sample.path)?.time_ms ?? -Infinity)) newest.set(sample.path, sample);
  }
  for (const sample of newest.values()) {
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

function onUpdate(update) {
  const known = page.querySelector(`[data-update="${update.id}"]`);
  if (!known || writeUpdate(page, update)) refresh();
}

function onReset() {
  refresh();
  refreshTimeline();
  tree.onReset();
  for (const chart of charts.values()) chart.reload();
}

setUpButtons(page.querySelector('[data-region="timeline"]'), refreshTimeline);
attachCharts();
// The window moves on although nothing arrives, and what changed while nobody looked is drawn.
const slide = () => {
  if (!document.hidden) for (const chart of charts.values()) chart.update();
};
setInterval(slide, SLIDE_MS);
document.addEventListener("visibilitychange", slide);
const redraw = () => charts.forEach((chart) => chart.redraw());
document.addEventListener("theme", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
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
    firmware_update: onUpdate,
    reset: onReset,
    state: showLive,
  },
  [endpoint],
  document.body.dataset.streamAfter,
);
