// Setting up, signing in, the first look: shows passwords on demand, and holds the box's clock against this one.
import { boxTime } from "./app.js";
import { momentText } from "./format.js";
import { _ } from "./language.js";
import "./reveal.js";

// What a slow answer and two honest clocks make.
const ENOUGH_MS = 90_000;

const box = document.querySelector('[data-clock="box"]');
const browser = document.querySelector('[data-clock="browser"]');
const verdict = document.querySelector('[data-clock="verdict"]');

function write() {
  box.textContent = momentText(boxTime());
  browser.textContent = momentText(Date.now());
}

/** Says whether the two agree. Which of them is right only people know. */
function judge() {
  if (!verdict) return; // the box doubts its own clock, and says so
  const apart = Math.abs(boxTime() - Date.now()) > ENOUGH_MS;
  verdict.dataset.apart = String(apart);
  verdict.querySelector("span").textContent = apart
    ? _("The two do not agree: one of them is wrong.")
    : _("The two agree.");
}

if (box) {
  write();
  judge();
  setInterval(write, 1000);
}
