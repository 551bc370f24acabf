// The newest operations on the page of a device, and lists of them elsewhere: cancelled and repeated in place.
import { writeMoments, writeTimes } from "./app.js";
import { send, troubleOf } from "./asking.js";
import { getPage } from "./fetching.js";

const SHOWN = 10;

/** Has the forms that cancel and repeat sent in place; `refresh` is called when one was taken. */
export function setUpButtons(root, refresh) {
  root.addEventListener("submit", async (event) => {
    const { target: form, submitter } = event;
    if (!/^\/operations\/\d+\/(cancel|retry)$/.test(new URL(form.action).pathname)) return;
    event.preventDefault();
    submitter.disabled = true;
    try {
      const { taken, page } = await send(form, submitter, { back: "" });
      if (!taken) tell(form, troubleOf(page));
    } finally {
      submitter.disabled = false;
      refresh();
    }
  });
}

function tell(form, text) {
  const line = form.closest(".operation");
  const told = line?.querySelector(".told") ?? document.createElement("p");
  told.className = "told";
  told.dataset.status = "FAILED";
  told.textContent = text;
  line?.querySelector(".operation-what").append(told);
}

/** Reads the newest operations of a device anew into the region "timeline" of its page. */
export async function readTimeline(page, endpoint) {
  const list = page.querySelector('[data-region="timeline"] .operations');
  const fresh = await getPage(`/operations?device=${encodeURIComponent(endpoint)}`);
  const lines = [...fresh.querySelectorAll("li[data-operation]")].slice(0, SHOWN);
  exchange(list, lines);
  list.hidden = lines.length === 0;
  page.querySelector('[data-region="timeline"] [data-none]').hidden = lines.length > 0;
}

/** Puts fresh lines into a list; the focus stays with its operation. */
export function exchange(list, lines) {
  const focused = list.contains(document.activeElement) && document.activeElement.closest("[data-operation]");
  list.replaceChildren(...lines);
  if (focused) list.querySelector(`[data-operation="${focused.dataset.operation}"] a`)?.focus({ preventScroll: true });
  writeMoments(list);
  writeTimes(list);
}
