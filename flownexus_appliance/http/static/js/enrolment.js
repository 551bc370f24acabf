// The enrolment page: counts down, and shows who enrols while the window is open.
import { boxTime, writeMoments, writeTimes } from "./app.js";
import { tend } from "./away.js";
import "./copying.js";
import { getPage } from "./fetching.js";
import { leftText } from "./format.js";

const LOOK_MS = 2000;

function countDown() {
  for (const element of document.querySelectorAll("[data-until]")) {
    element.textContent = leftText(Number(element.dataset.until), boxTime());
  }
}

function isOpen() {
  return document.querySelector('[data-region="window"]').dataset.open !== undefined;
}

/** Takes over what has changed; the key stays as long as the window is open. */
async function look() {
  // Not the address of this page: that would ask for the key again.
  const page = await getPage("/enrolment");
  for (const name of ["window", "enrolled"]) {
    const fresh = page.querySelector(`[data-region="${name}"]`);
    const old = document.querySelector(`[data-region="${name}"]`);
    if (name === "window") old.toggleAttribute("data-open", fresh.dataset.open !== undefined);
    const focused = old.contains(document.activeElement);
    // What is the same but for its times stays, so that nobody is told of it twice.
    if (signature(old) === signature(fresh)) continue;
    old.replaceChildren(...fresh.childNodes);
    if (focused) old.querySelector("button")?.focus();
  }
  if (!isOpen()) document.querySelector('[data-region="key"]').replaceChildren();
  writeMoments();
  writeTimes();
}

function signature(region) {
  const copy = region.cloneNode(true);
  for (const time of copy.querySelectorAll("time")) time.textContent = time.dataset.until ?? "";
  return copy.textContent.replace(/\s+/g, " ");
}

async function watch() {
  if (isOpen() && !document.hidden) await tend(look);
  setTimeout(watch, LOOK_MS);
}

countDown();
setInterval(countDown, 500);
setTimeout(watch, LOOK_MS);
