// The log: follows what is written, in the browser's time zone. What one reads keeps its place.
import { tend } from "./away.js";
import { getPage } from "./fetching.js";
import { momentText } from "./format.js";
import { n_ } from "./language.js";

const LOOK_MS = 2000;
const MAX_LINES = 1000;

const lines = document.querySelector('[data-region="lines"]');
const follow = document.getElementById("follow");
const news = document.getElementById("log-news");

function writeSeconds(root) {
  for (const time of root.querySelectorAll("time[data-second]")) {
    const moment = Number(time.dataset.second);
    time.textContent = `${momentText(moment)}:${String(Math.floor(moment / 1000) % 60).padStart(2, "0")}`;
  }
}

/** Puts the lines that are new above the others. */
async function look() {
  const url = new URL(lines.dataset.newest, location.href);
  url.searchParams.set("since", lines.dataset.last);
  const page = await getPage(url);
  const fresh = page.querySelector('[data-region="lines"]');
  // A smaller number is another run of the box, which counts from 1 again.
  const anew = Number(fresh.dataset.last) < Number(lines.dataset.last);
  lines.dataset.last = anew ? "0" : fresh.dataset.last;
  const items = [...fresh.children];
  if (!items.length) return;
  writeSeconds(fresh);
  lines.prepend(...items);
  while (lines.children.length > MAX_LINES) lines.lastElementChild.remove();
  document.querySelector(".log-empty").hidden = true;
  news.textContent = n_("%(num)s new line", "%(num)s new lines", items.length);
}

async function watch() {
  if (follow.checked && !document.hidden) await tend(look);
  setTimeout(watch, LOOK_MS);
}

if (lines) {
  writeSeconds(lines);
  if (follow) setTimeout(watch, LOOK_MS);
}
