// The page that shows a credential once, and the one that waits for its device: shows its coming by itself.
import { showLive, writeMoments, writeTimes } from "./app.js";
import "./copying.js";
import { getPage } from "./fetching.js";
import { throttled } from "./live.js";
import { Stream } from "./stream.js";

const LOOK_PAUSE_MS = 1500;
// A device that is switched on takes some seconds; who waits longer wants to know why.
const HINTS_MS = 30_000;

const region = () => document.querySelector('[data-region="arrival"]');

/** Asks how it stands, by another address than this page's: that would be gone, and the key with it. */
async function look() {
  const old = region();
  let page;
  try {
    page = await getPage(old.dataset.ask);
  } catch {
    return; // the stream's sign tells when the box is away; the next event asks again
  }
  const fresh = page.querySelector('[data-region="arrival"]');
  if (!fresh) return;
  const open = old.querySelector("details")?.open;
  const focused = old.contains(document.activeElement);
  old.dataset.came = fresh.dataset.came;
  old.replaceChildren(...fresh.childNodes);
  if (open) old.querySelector("details")?.setAttribute("open", "");
  if (focused) old.querySelector("summary, a")?.focus();
  tell();
  writeMoments(old);
  writeTimes(old);
}

/** Tells a screen reader once that the device has come. */
function tell() {
  const told = document.getElementById("arrived");
  const words = region().dataset.came ? document.getElementById("arrival-title").textContent.trim() : "";
  if (told.textContent !== words) told.textContent = words;
}

if (region()) {
  const soon = throttled(look, LOOK_PAUSE_MS);
  new Stream(
    { registration: soon, presence: soon, values: soon, reset: soon, state: showLive },
    [region().dataset.endpoint],
    document.body.dataset.streamAfter,
  );
  setTimeout(() => region().querySelector("details")?.setAttribute("open", ""), HINTS_MS);
}
