// The page of one path: its values stay current, its times are the browser's, and it tells when the device answers.
import { moveTime, showLive, writeMoments, writeTimes } from "./app.js";
import { useLocalTimes } from "./asking.js";
import { freshPage } from "./fetching.js";
import { throttled, valueElements, writeValue } from "./live.js";
import { Stream } from "./stream.js";

const REFRESH_PAUSE_MS = 1000;

const page = document.querySelector("[data-device]");
const told = page.querySelector('[data-region="told"]');
let values = valueElements(page);

async function reread() {
  const fresh = await freshPage();
  if (!fresh) return;
  // Not the forms: somebody may be writing there.
  for (const name of ["told", "rows"]) {
    page.querySelector(`[data-region="${name}"]`).replaceChildren(...fresh.querySelector(`[data-region="${name}"]`).childNodes);
  }
  values = valueElements(page);
  writeMoments();
  writeTimes();
}

const refresh = throttled(reread, REFRESH_PAUSE_MS);

function onValues({ values: samples }) {
  for (const sample of samples) {
    for (const element of values.get(sample.path) ?? []) {
      writeValue(element, sample);
      moveTime(element.closest("tr")?.querySelector("time[data-ago]"), sample.time_ms);
    }
  }
}

function onOperation({ id }) {
  if (told.querySelector(`[data-told="${id}"]`)) refresh();
}

useLocalTimes(page);
new Stream(
  { values: onValues, operation: onOperation, observation: refresh, reset: refresh, state: showLive },
  [page.dataset.device],
  document.body.dataset.streamAfter,
);
