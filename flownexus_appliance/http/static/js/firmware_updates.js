// The pages of packages, updates and campaigns: bars move with the live stream, the rest is read anew.
import { showLive, writeMoments, writeTimes } from "./app.js";
import { takeToken } from "./asking.js";
import { freshPage } from "./fetching.js";
import { writeCampaign, writeUpdate } from "./firmware_live.js";
import { nameOf, throttled } from "./live.js";
import { Stream } from "./stream.js";

const REFRESH_PAUSE_MS = 2000;
const REGIONS = ["update", "list", "campaigns", "how", "steps", "failures", "facts", "packages"];

const main = document.querySelector("main");
const campaign = Number(document.querySelector(".campaign-page")?.dataset.campaign ?? 0);
const one = document.querySelector('[data-region="update"]');
const asked = new URLSearchParams(location.search);
// The newest update that was told of: a list has its newest first.
let newest = Math.max(0, ...[...main.querySelectorAll("[data-update]")].map((line) => Number(line.dataset.update)));

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

/** Whether an update that nobody knows yet may belong on the page: on the first page of a list. */
function open() {
  return !one && !campaign && main.querySelector('[data-region="list"][data-first]') !== null;
}

/** The devices that the page is about; none is all of them. */
function shown() {
  if (one) return [one.dataset.endpoint];
  if (open()) return asked.get("device") && location.pathname.endsWith("/updates") ? [asked.get("device")] : [];
  return [...new Set([...main.querySelectorAll("[data-update][data-endpoint]")].map((line) => line.dataset.endpoint))];
}

function onUpdate(update) {
  const known = main.querySelector(`[data-update="${update.id}"]`);
  if (known) {
    if (writeUpdate(main, update)) refresh();
  } else if (open() && (update.id > newest || update.state === asked.get("state"))) {
    refresh(); // it is new, or has come to the state that the list is of
  }
  newest = Math.max(newest, update.id);
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
  shown(),
  document.body.dataset.streamAfter,
);
