// Which time the charts of a page show: a range that ends now and moves on, or a span that was zoomed into.
// The address holds it, so that it can be shared and outlives a reload: ?range=24h, ?range=24h&from=&to=.
import { boxTime } from "./app.js";
import { clockText, dayText } from "./format.js";
import { _ } from "./language.js";

const SECOND_MS = 1000;
const LEAST_WINDOW_MS = 120 * SECOND_MS;
const LEAST_SPAN_MS = 5 * SECOND_MS;
const FINE_MS = 10 * 60 * SECOND_MS;
const YEAR_MS = 365 * 24 * 3600 * SECOND_MS;
const MOST_MS = 20 * YEAR_MS;
const ZOOM = 2;
const PAN = 0.5;
// Browsers limit how often an address may be written.
const ADDRESS_PAUSE_MS = 250;
const TOLD_PAUSE_MS = 700;

export class TimeView {
  #root;
  #first; // the time of the oldest sample, as far as known; before it there is nothing to show. 0: not known
  #span = null; // [begin, end] where one has zoomed in
  #listeners = [];
  #address = 0;
  #told = 0;

  /** `root` holds the links of ranges and the tools; `since` is when the device was first seen, 0: unknown. */
  constructor(root, since) {
    this.#root = root;
    this.#first = since;
    const query = new URLSearchParams(location.search);
    const [from, to] = ["from", "to"].map((name) => Number(query.get(name) || NaN));
    if (to - from >= 1) this.#span = this.#bounded(from, to);
    this.#range().addEventListener("click", (event) => this.#onRange(event));
    root.querySelector("[data-tools]").addEventListener("click", (event) => {
      const act = event.target.closest("[data-act]")?.dataset.act;
      if (act) this.act(act);
    });
    this.#tell();
  }

  /** Calls `listener` whenever another time is in view. */
  onChange(listener) {
    this.#listeners.push(listener);
  }

  /** Whether it stands still. */
  get fixed() {
    return this.#span !== null;
  }

  /** [begin, end] in ms since 1970. */
  window() {
    if (this.#span) return [...this.#span];
    const now = boxTime();
    const all = this.#first ? Math.min(this.#first, now - LEAST_WINDOW_MS) : 0;
    const seconds = Number(this.#chosen().dataset.seconds);
    if (seconds === 0) return [all || now - YEAR_MS, now];
    return [Math.max(now - seconds * SECOND_MS, all), now];
  }

  /** What is in view, in words. */
  get text() {
    const name = this.#chosen().textContent.trim();
    if (!this.#span) return this.#chosen().dataset.seconds === "0" ? name : _("last %(range)s", { range: name });
    const [begin, end] = this.#span.map((moment) => new Date(moment));
    const fine = end - begin < FINE_MS;
    const year = begin.getFullYear() === new Date(boxTime()).getFullYear() ? "" : ` ${begin.getFullYear()}`;
    const day = begin.toDateString() === end.toDateString() ? "" : `${dayText(end)}, `;
    return `${dayText(begin)}${year}, ${clockText(begin, fine)} \u2013 ${day}${clockText(end, fine)}`;
  }

  /** What an address says for it: {range, from, to}; null for what it leaves out. */
  query() {
    const [from, to] = this.#span ?? [null, null];
    return { range: this.#chosen().dataset.range, from, to };
  }

  /** Shows a span, as far as there can be something in it. */
  show(begin, end) {
    this.#span = this.#bounded(begin, end);
    this.#changed();
  }

  /** Zooms by a factor (below 1: in) about a moment, the middle without one. */
  zoom(factor, about) {
    const [begin, end] = this.window();
    const still = about ?? (begin + end) / 2;
    this.show(still - (still - begin) * factor, still + (end - still) * factor);
  }

  /** Moves by a share of what is in view, forward in time where it is positive. */
  pan(share) {
    const [begin, end] = this.window();
    this.show(begin + share * (end - begin), end + share * (end - begin));
  }

  /** Goes back to the range that ends now. */
  reset() {
    this.#span = null;
    this.#changed();
  }

  /** What a button or a key asks for; zooming is about a moment, where there is one. */
  act(name, about) {
    if (name === "in") this.zoom(1 / ZOOM, about);
    else if (name === "out") this.zoom(ZOOM, about);
    else if (name === "earlier") this.pan(-PAN);
    else if (name === "later") this.pan(PAN);
    else this.reset();
  }

  /** Takes note of the time of an oldest sample; a range may have more to show than was thought. */
  learn(firstMs) {
    if (!firstMs || (this.#first && firstMs >= this.#first)) return;
    const [begin, end] = this.window();
    this.#first = firstMs;
    if (Math.abs(this.window()[0] - begin) > (end - begin) / 100) this.#changed();
  }

  #range() {
    return this.#root.querySelector(".ranges");
  }

  #chosen() {
    return this.#root.querySelector(".ranges [data-chosen]") ?? this.#root.querySelector(".ranges [aria-current]");
  }

  #onRange(event) {
    const link = event.target.closest("a[data-range]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    for (const other of this.#root.querySelectorAll(".ranges a")) other.removeAttribute("data-chosen");
    link.dataset.chosen = "";
    this.reset();
    this.#write();
  }

  /** No narrower than can be seen, not beyond now, and not before all there is. */
  #bounded(begin, end) {
    const now = boxTime();
    const least = Math.min(this.#first || now - MOST_MS, now - LEAST_WINDOW_MS);
    let span = Math.min(Math.max(end - begin, LEAST_SPAN_MS), now - least);
    if (end - begin < LEAST_SPAN_MS) begin = (begin + end - span) / 2;
    begin = Math.round(Math.max(least, Math.min(begin, now - span)));
    span = Math.round(span);
    return [begin, begin + span];
  }

  #changed() {
    this.#tell();
    for (const listener of this.#listeners) listener();
    clearTimeout(this.#address);
    this.#address = setTimeout(() => this.#write(), ADDRESS_PAUSE_MS);
    clearTimeout(this.#told);
    this.#told = setTimeout(() => {
      this.#root.querySelector("[data-span-told]").textContent = this.text;
    }, TOLD_PAUSE_MS);
  }

  /** Marks the range, or writes out the span. */
  #tell() {
    const chosen = this.#chosen();
    for (const link of this.#root.querySelectorAll(".ranges a")) {
      link.toggleAttribute("data-chosen", link === chosen);
      if (link === chosen && !this.#span) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    this.#root.querySelector("[data-span]").textContent = this.#span ? this.text : "";
    this.#root.querySelector('[data-act="reset"]').hidden = !this.#span;
  }

  #write() {
    clearTimeout(this.#address);
    const address = new URL(location.href);
    for (const [name, value] of Object.entries(this.query())) {
      if (value === null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    }
    history.replaceState(history.state, "", address);
  }
}
