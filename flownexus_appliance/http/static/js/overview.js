// The overview: keeps counts, health, cards and sparklines current; searches, filters and sorts in place.
import { showLive, writeMoments, writeTimes } from "./app.js";
import { getPage } from "./fetching.js";
import { nameOf, throttled, valueElements, writeHeard, writeState, writeValue } from "./live.js";
import { Sparklines } from "./sparkline.js";
import { Stream } from "./stream.js";
import { TEXTS } from "./texts.js";

const SEARCH_PAUSE_MS = 250;
const REFRESH_PAUSE_MS = 2500;
// What no event tells of (the disk, the certificate, the order by time) is looked at anew this often.
const REREAD_MS = 60_000;
const OPERATIONS_PAUSE_MS = 10_000;
const REGIONS = ["news", "fleet", "vitals", "kept", "choices", "list"];

const sparklines = new Sparklines();
// endpoint -> its cards (in groups a device may have several), values, strange: paths that no card shows
let known = new Map();
let fleetSize = 0;
let loading = null;

function attach() {
  const before = known;
  known = new Map();
  for (const card of document.querySelectorAll(".device[data-endpoint]")) {
    const { endpoint } = card.dataset;
    const one = known.get(endpoint) ?? { cards: [], values: new Map(), strange: before.get(endpoint)?.strange ?? new Set() };
    one.cards.push(card);
    for (const [path, elements] of valueElements(card)) {
      one.values.set(path, [...(one.values.get(path) ?? []), ...elements]);
    }
    known.set(endpoint, one);
  }
  fleetSize = Number(document.querySelector('[data-count="all"]').textContent);
  sparklines.attach(document);
}

/** Reads the page at `url` anew and takes over what may have changed. Whether it came; null: not this time,
 * because another one was asked for meanwhile. */
async function show(url) {
  loading?.abort();
  loading = new AbortController();
  const { signal } = loading;
  try {
    const page = await getPage(url, signal);
    const fresh = REGIONS.map((name) => page.querySelector(`[data-region="${name}"]`));
    if (fresh.includes(null)) {
      location.assign(url); // another page has come: the one to sign in at
      return false;
    }
    takeOver(fresh);
  } catch {
    return signal.aborted ? null : false; // the stream's sign tells when the box is away
  }
  attach();
  writeMoments();
  writeTimes();
  stream.follow([...known.keys()]);
  return true;
}

function takeOver(fresh) {
  const open = [...document.querySelectorAll("details[id][open]")].map((one) => one.id);
  for (const region of fresh) {
    const { region: name, total } = region.dataset;
    const old = document.querySelector(`[data-region="${name}"]`);
    if (total !== undefined) old.dataset.total = total;
    const focused = old.contains(document.activeElement) && nameOf(document.activeElement);
    old.replaceChildren(...region.childNodes);
    if (focused) old.querySelector(focused)?.focus({ preventScroll: true });
  }
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
}

const refresh = throttled(() => show(location.href), REFRESH_PAUSE_MS);
const refreshForOperations = throttled(() => show(location.href), OPERATIONS_PAUSE_MS);

function onValues({ endpoint, received_ms: receivedMs, values }) {
  const one = known.get(endpoint);
  if (!one) return;
  for (const sample of values) {
    const elements = one.values.get(sample.path);
    if (elements) {
      for (const element of elements) writeValue(element, sample);
      sparklines.add(endpoint, sample.path, sample.time_ms, sample.value);
    } else if (!one.strange.has(sample.path)) {
      // A resource heard of for the first time may be worth a line on the card.
      one.strange.add(sample.path);
      if (one.values.size < 3) refresh();
    }
  }
  for (const card of one.cards) writeHeard(card, receivedMs);
}

function onPresence({ endpoint, presence }) {
  for (const card of known.get(endpoint)?.cards ?? []) writeState(card, presence);
}

function onRegistration({ endpoint, time_ms: timeMs }) {
  const one = known.get(endpoint);
  if (!one) return;
  for (const card of one.cards) writeHeard(card, timeMs);
  if (one.cards[0].dataset.unseen !== undefined) refresh(); // its first time: it has more to show now
}

function onCounts(counts) {
  const size = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const changed = ["online", "sleeping", "offline"].filter((state) => writeCount(state, counts[state] ?? 0));
  writeCount("all", size);
  if (changed.length) drawShare(counts, size);
  const query = new URLSearchParams(location.search);
  const moves = changed.includes(query.get("state")) || (changed.length && query.get("sort") === "state");
  if (size !== fleetSize || moves) refresh();
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

/** Tells a screen reader what was found. */
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
    show(url).then((came) => came && tellFound());
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

/** Filters, orders and pages are links: here they change the list without leaving the page. */
function setUpChoices() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("a[data-listing]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const turned = link.rel === "next" || link.rel === "prev";
    history.pushState(null, "", link.href); // first, so that what is read anew meanwhile is this
    const came = await show(link.href);
    if (came === false) location.reload();
    if (!came) return;
    tellFound();
    if (turned) document.querySelector('[data-region="list"]').scrollIntoView();
  });
  window.addEventListener("popstate", async () => {
    await show(location.href);
    document.getElementById("q").value = new URLSearchParams(location.search).get("q") ?? "";
  });
}

attach();
const stream = new Stream(
  {
    values: onValues,
    presence: onPresence,
    registration: onRegistration,
    operation: refreshForOperations,
    counts: onCounts,
    reset: refresh,
    state: showLive,
  },
  [...known.keys()],
  document.body.dataset.streamAfter,
);
setUpSearch();
setUpChoices();
setInterval(() => {
  if (!document.hidden) refresh();
}, REREAD_MS);
