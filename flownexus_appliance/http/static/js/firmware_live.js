// Puts what the stream tells of updates and campaigns into a page: bars move and words change in place.
import { sizeText } from "./format.js";
import { _ } from "./language.js";

const WORDS = {
  WAITING: _("Waiting"),
  PREPARING: _("Preparing"),
  DOWNLOADING: _("Downloading"),
  DOWNLOADED: _("Downloaded"),
  UPDATING: _("Installing"),
  SUCCEEDED: _("Done"),
  FAILED: _("Failed"),
  REVERTED: _("Old version is back"),
  CANCELLED: _("Cancelled"),
};
const TONES = { WAITING: "waiting", SUCCEEDED: "done", FAILED: "failed", REVERTED: "failed", CANCELLED: "cancelled" };
const PARTS = ["done", "failed", "moving", "waiting", "cancelled"];

/** Writes an update below `root`; true where its state is another one now, so that more has changed. */
export function writeUpdate(root, update) {
  let moved = false;
  for (const element of root.querySelectorAll(`[data-update="${update.id}"]`)) {
    moved ||= element.dataset.state !== update.state;
    element.dataset.state = update.state;
    element.dataset.tone = TONES[update.state] ?? "moving";
    const mark = element.querySelector(".update-state");
    if (mark) {
      mark.dataset.tone = element.dataset.tone;
      if (mark.textContent !== WORDS[update.state]) mark.textContent = WORDS[update.state] ?? update.state;
    }
    writeProgress(element, update);
  }
  return moved;
}

function writeProgress(element, { state, bytes, size }) {
  const line = element.querySelector(".update-progress");
  if (!line) return;
  line.hidden = state !== "DOWNLOADING" || !size;
  const bar = line.querySelector("progress");
  bar.max = size || 1;
  bar.value = bytes;
  line.querySelector(".update-percent").textContent = `${size ? Math.min(100, Math.floor((100 * bytes) / size)) : 0} %`;
  const text = _("%(done)s of %(size)s", { done: sizeText(bytes), size: sizeText(size) });
  for (const one of element.querySelectorAll(".update-bytes")) one.textContent = text;
}

/** Writes the counts of a campaign below `root`; true where its state is another one now. */
export function writeCampaign(root, campaign) {
  let moved = false;
  const counts = countsOf(campaign.counts);
  const total = PARTS.reduce((sum, name) => sum + counts[name], 0);
  for (const element of root.querySelectorAll(`[data-campaign="${campaign.id}"]`)) {
    moved ||= element.dataset.campaignState !== campaign.state;
    element.dataset.campaignState = campaign.state;
    moveBar(element.querySelector(".shares"), counts, total);
    for (const name of PARTS) {
      const count = element.querySelector(`[data-count="${name}"]`);
      if (!count) continue;
      if (count.textContent !== String(counts[name])) count.textContent = String(counts[name]);
      count.closest("li").toggleAttribute("data-none", !counts[name]);
    }
    const percent = element.querySelector("[data-percent]");
    if (percent) percent.textContent = String(percentOf(counts, total));
  }
  return moved;
}

function countsOf(states) {
  const counts = Object.fromEntries(PARTS.map((name) => [name, 0]));
  for (const [state, count] of Object.entries(states)) counts[TONES[state] ?? "moving"] += count;
  return counts;
}

function moveBar(bar, counts, total) {
  if (!bar || !total) return;
  bar.setAttribute("viewBox", `0 0 ${total} 1`);
  bar.setAttribute("aria-label", _("%(percent)s done", { percent: `${percentOf(counts, total)} %` }));
  let at = 0;
  for (const name of PARTS) {
    const rect = bar.querySelector(`[data-part="${name}"]`);
    rect.setAttribute("x", String(at));
    rect.setAttribute("width", String(counts[name]));
    at += counts[name];
  }
}

function percentOf(counts, total) {
  return total ? Math.floor((100 * counts.done) / total) : 0;
}
