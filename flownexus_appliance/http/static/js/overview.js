// The overview: keeps counts, cards and sparklines current, and searches while one types.
import { showLive, writeMoments, writeTimes } from "./app.js";
import { getPage } from "./fetching.js";
import { throttled, valueElements, writeHeard, writeState, writeValue } from "./live.js";
import { Sparklines } from "./sparkline.js";
import { Stream } from "./stream.js";
import { TEXTS } from "./texts.js";

const SEARCH_PAUSE_MS = 250;
const REFRESH_PAUSE_MS = 2500;

const sparklines = new Sparklines();
let cards = new Map(); // endpoint -> {card, values, strange: paths seen that the card does not show}
let fleetSize = 0;
let loading = null;

function attach() {
  const before = cards;
  cards = new Map();
  for (const card of document.querySelectorAll(".device[data-endpoint]")) {
    const { endpoint } = card.dataset;
    const strange = before.get(endpoint)?.strange ?? new Set();
    cards.set(endpoint, { card, values: valueElements(card), strange });
  }
  fleetSize = Number(document.querySelector('[data-count="all"]').textContent);
  sparklines.attach(document);
}

/** Reads the page at `url` anew and takes over its counts and its list. */
async function show(url) {
  loading?.abort();
  loading = new AbortController();
  try {
    const page = await getPage(url, loading.signal);
    for (const name of ["news", "fleet", "list"]) {
      const fresh = page.querySelector(`[data-region="${name}"]`);
      const old = document.querySelector(`[data-region="${name}"]`);
      if (name === "list") old.dataset.total = fresh.dataset.total;
      const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
      old.replaceChildren(...fresh.childNodes);
      if (focused) old.querySelector(`[href="${CSS.escape(focused)}"]`)?.focus();
    }
  } catch {
    return; // the stream's sign tells when the box is away; the next event asks again
  }
  attach();
  writeMoments();
  writeTimes();
  stream.follow([...cards.keys()]);
}

const refresh = throttled(() => show(location.href), REFRESH_PAUSE_MS);

function onValues({ endpoint, received_ms: receivedMs, values }) {
  const known = cards.get(endpoint);
  if (!known) return;
  for (const sample of values) {
    const elements = known.values.get(sample.path);
    if (elements) {
      for (const element of elements) writeValue(element, sample);
      sparklines.add(endpoint, sample.path, sample.time_ms, sample.value);
    } else if (!known.strange.has(sample.path)) {
      // A resource heard of for the first time may be worth a line on the card.
      known.strange.add(sample.path);
      if (known.values.size < 3) refresh();
    }
  }
  writeHeard(known.card, receivedMs);
}

function onPresence({ endpoint, presence }) {
  const known = cards.get(endpoint);
  if (known) writeState(known.card, presence);
}

function onRegistration({ endpoint, time_ms: timeMs }) {
  const known = cards.get(endpoint);
  if (!known) return;
  writeHeard(known.card, timeMs);
  if (known.card.dataset.unseen !== undefined) refresh(); // its first time: it has more to show now
}

function onCounts(counts) {
  const size = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const changed = ["online", "sleeping", "offline"].filter((state) => writeCount(state, counts[state] ?? 0));
  writeCount("all", size);
  if (changed.length) drawShare(counts, size);
  const filtered = new URLSearchParams(location.search).get("state");
  if (size !== fleetSize || (filtered && changed.includes(filtered))) refresh();
  fleetSize = size;
}

function writeCount(name, count) {
  const element = document.querySelector(`[data-count="${name}"]`);
  if (element.textContent === String(count)) return false;
  element.textContent = String(count);
  return true;
}

function drawShare(counts, size) {
  const share = document.querySelector("[data-share]");
  share.setAttribute("viewBox", `0 0 ${Math.max(size, 1)} 1`);
  let x = 0;
  for (const bar of share.children) {
    const count = counts[bar.dataset.state] ?? 0;
    bar.setAttribute("x", x);
    bar.setAttribute("width", count);
    x += count;
  }
}

/** Tells a screen reader what the search has found. */
function tellFound() {
  const total = Number(document.querySelector('[data-region="list"]').dataset.total);
  document.getElementById("found").textContent = TEXTS.found(total);
}

function setUpSearch() {
  const form = document.querySelector(".finder");
  let timer = 0;
  const search = () => {
    clearTimeout(timer);
    const query = new URLSearchParams(new FormData(form));
    for (const [name, value] of [...query]) if (!value.trim()) query.delete(name);
    const url = query.size ? `/?${query}` : "/";
    history.replaceState(null, "", url);
    show(url).then(tellFound);
  };
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(search, SEARCH_PAUSE_MS);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
}

attach();
const stream = new Stream(
  {
    values: onValues,
    presence: onPresence,
    registration: onRegistration,
    counts: onCounts,
    reset: refresh,
    state: showLive,
  },
  [...cards.keys()],
  document.body.dataset.streamAfter,
);
setUpSearch();
