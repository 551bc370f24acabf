// The pages of the box: its figures stay current, and the page of a restart goes on once the box is back.
import { writeMoments, writeTimes } from "./app.js";
import { tend } from "./away.js";
import { getPage } from "./fetching.js";

const LOOK_MS = 5000;
const RETRY_MS = 700;
const REGIONS = ["notices", "figures"];

/** Takes over what has changed, but where somebody is at it. */
async function look() {
  const fresh = await getPage(location.href);
  for (const name of REGIONS) {
    const old = document.querySelector(`[data-region="${name}"]`);
    const region = fresh.querySelector(`[data-region="${name}"]`);
    if (!region || old.contains(document.activeElement) || old.innerHTML === region.innerHTML) continue;
    old.replaceChildren(...region.childNodes);
  }
  writeMoments();
  writeTimes();
}

async function watch() {
  const chosen = !document.getSelection().isCollapsed; // what is being copied stays
  if (!document.hidden && !chosen) await tend(look);
  setTimeout(watch, LOOK_MS);
}

/** Waits for a run of the box that began at another time. */
async function waitForStart(since) {
  try {
    const response = await fetch("/api/v1/system", { cache: "no-store", signal: AbortSignal.timeout(RETRY_MS * 5) });
    const state = await response.json();
    if (!response.ok || state.vitals.started_ms !== since) {
      location.replace("/system?done=restarted");
      return;
    }
  } catch {
    // It is away: that is what this page waits for the end of.
  }
  setTimeout(() => waitForStart(since), RETRY_MS);
}

const waiting = document.querySelector("[data-restarting]");
// At another address it cannot be asked from here; the page has a link.
if (!waiting) setTimeout(watch, LOOK_MS);
else if (waiting.dataset.moved === undefined) waitForStart(Number(waiting.dataset.restarting));
