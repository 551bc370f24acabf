// What firmware runs where: the page stays current by the live stream.
import { showLive, writeMoments, writeTimes } from "./app.js";
import { freshPage } from "./fetching.js";
import { writeUpdate } from "./firmware_live.js";
import { nameOf, throttled } from "./live.js";
import { Stream } from "./stream.js";

// The page counts the whole fleet: not more often than one can follow.
const REFRESH_PAUSE_MS = 5000;
// Devices of other pages of the list count too, and no event tells of them here.
const REREAD_MS = 60_000;
const TOLD = /^\/(3\/0\/[013]|(5|33629)\/0\/[3589])(\/|$)/;
const REGIONS = ["models", "list"];

let fleetSize = 0;

function shown() {
  return [...document.querySelectorAll("[data-region='list'] [data-endpoint]")].map((one) => one.dataset.endpoint);
}

async function reread() {
  const fresh = await freshPage();
  if (!fresh) return;
  const open = [...document.querySelectorAll("main details[id][open]")].map((one) => one.id);
  for (const name of REGIONS) {
    const old = document.querySelector(`[data-region="${name}"]`);
    const region = fresh.querySelector(`[data-region="${name}"]`);
    if (!region || old.innerHTML === region.innerHTML) continue;
    const focused = old.contains(document.activeElement) && nameOf(document.activeElement);
    old.replaceChildren(...region.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) old.querySelector(focused)?.focus({ preventScroll: true });
  }
  writeMoments();
  writeTimes();
  stream.follow(shown());
}

const refresh = throttled(reread, REFRESH_PAUSE_MS);

function onValues({ values }) {
  if (values.some(({ path }) => TOLD.test(path))) refresh();
}

function onCounts(counts) {
  const size = Object.values(counts).reduce((sum, count) => sum + count, 0);
  if (fleetSize && size !== fleetSize) refresh();
  fleetSize = size;
}

/** An update's bar moves at once; one that has come or gone changes more than that. */
function onUpdate(update) {
  const known = document.querySelector(`[data-region="list"] [data-update="${update.id}"]`);
  if (!known || writeUpdate(document, update)) refresh();
}

const stream = new Stream(
  {
    values: onValues,
    registration: refresh,
    counts: onCounts,
    firmware_update: onUpdate,
    reset: refresh,
    state: showLive,
  },
  shown(),
  document.body.dataset.streamAfter,
);
setInterval(() => {
  if (!document.hidden) refresh();
}, REREAD_MS);
