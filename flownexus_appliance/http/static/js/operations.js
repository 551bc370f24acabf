// The list of operations and the page of one: they stay current by the live stream.
import { showLive, writeMoments, writeTimes } from "./app.js";
import { freshPage } from "./fetching.js";
import { throttled } from "./live.js";
import { Stream } from "./stream.js";
import { setUpButtons } from "./timeline.js";

const REFRESH_PAUSE_MS = 1500;

const one = document.querySelector('[data-region="operation"]');
const list = document.querySelector('[data-region="list"]');

/** Reads the page anew and takes over its regions. */
async function reread() {
  const fresh = await freshPage();
  if (!fresh) return;
  for (const name of ["groups", "list", "operation"]) {
    const old = document.querySelector(`[data-region="${name}"]`);
    const region = fresh.querySelector(`[data-region="${name}"]`);
    if (!old || !region) continue;
    const held = focusedIn(old);
    old.replaceChildren(...region.childNodes);
    if (held) old.querySelector(held)?.focus({ preventScroll: true });
  }
  writeMoments();
  writeTimes();
}

/** A selector for what has the focus in a region, so that it can have it again. */
function focusedIn(region) {
  const element = document.activeElement;
  if (!region.contains(element)) return "";
  if (element.href) return `a[href="${CSS.escape(element.getAttribute("href"))}"]`;
  const form = element.closest("form");
  return form ? `form[action="${CSS.escape(form.getAttribute("action"))}"] button` : "";
}

const refresh = throttled(reread, REFRESH_PAUSE_MS);

function onOperation({ id }) {
  // What is behind the first page does not change; and what one reads there must not move away.
  if (one ? id === Number(one.dataset.operation) : list.dataset.first !== undefined) refresh();
}

if (list) setUpButtons(list, refresh);
const device = one?.dataset.endpoint ?? new URLSearchParams(location.search).get("device");
new Stream(
  { operation: onOperation, reset: refresh, state: showLive },
  device ? [device] : [],
  document.body.dataset.streamAfter,
);
