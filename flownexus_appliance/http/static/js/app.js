// What every page has: the theme switch, the sign of life in the header, times that move on.
import { agoText, momentText } from "./format.js";
import "./menu.js";
import { TEXTS } from "./texts.js";

const THEMES = ["system", "light", "dark"];

function setUpTheme() {
  const button = document.getElementById("theme-switch");
  const current = () => document.documentElement.dataset.theme ?? "system";
  const tell = () => {
    button.setAttribute("aria-label", TEXTS.theme(TEXTS.themes[current()]));
    button.title = TEXTS.theme(TEXTS.themes[current()]);
  };
  button.addEventListener("click", () => {
    const next = THEMES[(THEMES.indexOf(current()) + 1) % THEMES.length];
    try {
      if (next === "system") localStorage.removeItem("theme");
      else localStorage.setItem("theme", next);
    } catch {
      // Not stored: it holds for this page.
    }
    document.dispatchEvent(new CustomEvent("theme", { detail: next }));
  });
  document.addEventListener("theme", tell); // it is chosen on the page of the account too
  tell();
}

/** Shows how the live stream stands; without a stream on the page the sign is not there. */
export function showLive(state) {
  const sign = document.getElementById("live");
  sign.hidden = false;
  sign.dataset.live = state;
  const text = document.getElementById("live-text");
  if (text.textContent !== TEXTS.live[state]) text.textContent = TEXTS.live[state];
}

/** Writes all times below `root`: "12 s ago", and moments in the browser's own time zone. */
export function writeTimes(root = document) {
  const now = Date.now() + clockOffset;
  for (const element of root.querySelectorAll("time[data-ago]")) {
    const text = agoText(Number(element.dataset.ago), now);
    if (element.textContent !== text) element.textContent = text;
  }
}

/** Sets a time element to a later moment. */
export function moveTime(element, timeMs) {
  if (!element || Number(element.dataset.ago) >= timeMs) return;
  element.dataset.ago = String(timeMs);
  element.hidden = false;
  element.title = momentText(timeMs);
}

export function writeMoments(root = document) {
  for (const element of root.querySelectorAll("time[data-moment]")) {
    element.textContent = momentText(Number(element.dataset.moment));
  }
  for (const element of root.querySelectorAll("time[data-ago]")) {
    element.title = momentText(Number(element.dataset.ago));
  }
}

// The box's clock is what times are told by; the browser's may go wrong by minutes.
const boxNow = Number(document.body.dataset.now);
const clockOffset = boxNow ? boxNow - (performance.timeOrigin + responseAge()) : 0;

/** The box's time now, ms since 1970. */
export function boxTime() {
  return Date.now() + clockOffset;
}

function responseAge() {
  const [navigation] = performance.getEntriesByType("navigation");
  return navigation ? navigation.responseStart : performance.now();
}

setUpTheme();
writeMoments();
writeTimes();
setInterval(writeTimes, 1000);
document.getElementById("live").hidden = document.body.dataset.streamAfter === undefined;
