// The pages of packages, updates and campaigns: bars move with the live stream, the rest is read anew.
import { showLive, writeMoments, writeTimes } from "./app.js";
import { takeToken } from "./asking.js";
import { freshPage } from "./fetching.js";
import { writeCampaign, writeUpdate } from "./firmware_live.js";
import { nameOf, throttled } from "./live.js";
import { Stream } from "./stream.js";

const REFRESH_PAUSE_MS = 2000;
const REGIONS = ["update", "list", "campaigns", "how", "steps", "failures", "packages"];

const main = document.querySelector("main");
const campaign = Number(document.querySelector(".campaign-page")?.dataset.campaign ?? 0);
const one = document.querySelector('[data-region="update"]');

/** Reads the page anew and takes over its regions; what is folded, and the focus, stay. */
async function reread() {
  const fresh = await freshPage();
  if (!fresh) return;
  for (const name of REGIONS) {
    const old = document.querySelector(`[data-region="${name}"]`);
    const region = fresh.querySelector(`[data-region="${name}"]`);
    if (!old || !region) continue;
    const open = [...old.querySelectorAll("details[id][open]")].map((details) => details.id);
    const focused = old.contains(document.activeElement) && nameOf(document.activeElement);
    old.replaceChildren(...region.childNodes);
    for (const attribute of ["state", "tone"]) {
      if (region.dataset[attribute]) old.dataset[attribute] = region.dataset[attribute];
    }
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) old.querySelector(focused)?.focus({ preventScroll: true });
  }
  takeToken(fresh);
  writeMoments();
  writeTimes();
  stream.follow(shown());
}

const refresh = throttled(reread, REFRESH_PAUSE_MS);

/** The devices that the page shows; none is all of them. */
function shown() {
  return [...new Set([...main.querySelectorAll("[data-update][data-endpoint]")].map((line) => line.dataset.endpoint))];
}

function onUpdate(update) {
  const known = main.querySelector(`[data-update="${update.id}"]`);
  if (known) {
    if (writeUpdate(main, update)) refresh();
  } else if (!one && !campaign && main.querySelector('[data-region="list"][data-first]')) {
    refresh(); // a new one, on the first page of a list
  }
}

function onCampaign(told) {
  const known = main.querySelector(`[data-campaign="${told.id}"]`);
  if (known ? writeCampaign(main, told) : main.querySelector('[data-region="campaigns"]')) refresh();
  // Which devices are under way, and why others failed, is told by no number.
  else if (known && told.id === campaign) refresh();
}

const stream = new Stream(
  {
    firmware_update: onUpdate,
    firmware_campaign: onCampaign,
    firmware: () => main.querySelector('[data-region="packages"]') && refresh(),
    reset: refresh,
    state: showLive,
  },
  one ? [one.dataset.endpoint] : shown(),
  document.body.dataset.streamAfter,
);
