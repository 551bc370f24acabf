// The chart of several devices' series: one trace each entry of the legend, two units at most.
import { LOAD_PAUSE_MS, momentIn } from "./chart.js";
import { gestures } from "./gestures.js";
import { _, n_ } from "./language.js";
import { fileName, savePicture, saveTable } from "./picture.js";
import { Plot } from "./plot.js";
import { lineText } from "./plotting.js";
import { stepping } from "./stepping.js";
import { Trace } from "./trace.js";

// Twelve lines share the pixels, and bands over each other would hide what they bound.
const MOST_POINTS = 700;
const MOST_BANDS = 3;
const NOTHING = _("No samples in this time span");
const HEAD = ["endpoint", "path", "name", "units", "time_ms", "time", "min", "mean", "max", "count"];

export class Comparison {
  #element;
  #box;
  #readout;
  #view;
  #plot;
  #entries = []; // {key, element, trace, axis, ...}
  #timer = 0;
  #pointed = null;
  #failed = false;

  constructor(element, view) {
    this.#element = element;
    this.#box = element.querySelector("[data-plot]");
    this.#readout = element.querySelector("[data-readout]");
    this.#view = view;
    this.#plot = new Plot(this.#box, view, {
      lines: () => this.#lines(),
      drawn: (shown) => this.#drawn(shown),
      pointed: (timeMs) => this.#point(timeMs),
    });
    gestures(this.#box, view, () => this.#plot.uplot, (x) => this.#plot.point(this.#plot.uplot.posToVal(x, "x") * 1000));
    stepping(element.querySelector(".plot-frame"), element.getAttribute("aria-label"), {
      step: (by) => this.#step(by),
      leave: () => this.#plot.leave(),
      act: (name) => view.act(name, this.#pointed ?? undefined),
    });
    element.querySelector("[data-png]").addEventListener("click", () => this.#savePicture());
    element.querySelector("[data-csv]").addEventListener("click", () => this.#saveTable());
    view.onChange(() => this.#moved());
    new IntersectionObserver(([{ isIntersecting }]) => this.#seen(isIntersecting)).observe(element);
  }

  /** Takes the entries of the legend over; a series that was there keeps its samples. */
  take(elements) {
    const before = new Map(this.#entries.map((entry) => [entry.key, entry]));
    this.#entries = elements.map((element) => {
      const { series: key, endpoint, path, labels } = element.dataset;
      const known = before.get(key);
      before.delete(key);
      const stepped = labels !== undefined;
      return {
        key,
        element,
        labels: stepped ? JSON.parse(labels) : null,
        trace: known?.trace ?? new Trace(endpoint, path, { stepped }),
      };
    });
    for (const { trace } of before.values()) trace.abort();
    this.#element.hidden = elements.length === 0;
    this.#load();
    this.#plot.update(true);
  }

  /** Takes a live sample. */
  add(endpoint, sample) {
    for (const { key, trace } of this.#entries) {
      if (key === `${sample.path}:${endpoint}` && trace.add(sample)) this.#plot.update();
    }
  }

  /** Time goes on. */
  update() {
    const [begin] = this.#view.window();
    for (const { trace } of this.#entries) if (!this.#view.fixed) trace.series?.trim(begin);
    this.#load();
    this.#plot.update();
  }

  /** Something was missed: all is asked for anew. */
  reload() {
    for (const { trace } of this.#entries) trace.forget();
    this.#load();
  }

  /** Colours have changed. */
  redraw() {
    this.#plot.redraw();
  }

  #seen(visible) {
    this.#plot.visible = visible;
    if (!visible) return;
    this.#load();
    this.#plot.update(true);
  }

  #moved() {
    this.#plot.update(true);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#load(), LOAD_PAUSE_MS);
  }

  /** Asks for what is wanted; each is drawn as it comes. */
  #load() {
    if (!this.#plot.visible) return;
    const points = Math.min(MOST_POINTS, this.#plot.points);
    this.#failed = false;
    for (const { trace, element } of this.#entries) {
      if (element.dataset.axis === "0" || trace.loading || !trace.wanting(this.#view)) continue;
      trace
        .load(this.#view, points)
        .then((taken) => {
          if (!taken) return;
          this.#plot.update(true);
          this.#view.learn(trace.firstMs);
        })
        .catch(() => {
          this.#failed = true;
          this.#plot.update(true);
        });
    }
  }

  #shown() {
    return this.#entries.filter(({ element, trace }) => element.dataset.axis !== "0" && trace.series);
  }

  #lines() {
    const band = this.#shown().length <= MOST_BANDS;
    return this.#shown().map(({ element, trace, labels }) => {
      const { kind, unit, dash, axis } = element.dataset;
      const hue = getComputedStyle(element).getPropertyValue("--hue").trim();
      const lengths = dash ? dash.split(" ").map(Number) : [];
      return { series: trace.series, hue, dash: lengths, axis: Number(axis), unit, kind, labels, band };
    });
  }

  #drawn(shown) {
    const loading = this.#entries.some(({ trace }) => trace.loading);
    if (shown) this.#plot.say("");
    else if (this.#failed) this.#plot.clear(_("The samples could not be loaded"));
    else this.#plot.clear(loading ? _("Loading") : NOTHING);
    if (this.#pointed === null) this.#readout.textContent = shown ? this.#view.text : "\u00a0";
    this.#describe(shown);
  }

  #describe(shown) {
    const parts = this.#shown().map((entry) => {
      const { low, high, mean } = entry.trace.series.summary(...this.#view.window());
      const say = (value) => this.#say(entry, value);
      if (!Number.isFinite(mean)) return `${this.#name(entry)}: ${NOTHING}`;
      return `${this.#name(entry)}: ${_("Low")} ${say(low)}, ${_("Mean")} ${say(mean)}, ${_("High")} ${say(high)}`;
    });
    const title = n_("%(num)s series", "%(num)s series", this.#entries.length);
    this.#box.setAttribute("role", "img");
    this.#box.setAttribute(
      "aria-label",
      `${_("Chart of %(title)s, %(span)s", { title, span: this.#view.text })}. ${shown ? parts.join(". ") : NOTHING}`,
    );
  }

  /** The legend tells what lies under the cursor; without one, the newest values. */
  #point(timeMs) {
    this.#pointed = timeMs;
    this.#readout.textContent = timeMs === null ? this.#view.text : momentIn(this.#view, timeMs);
    for (const entry of this.#entries) {
      const pointed = entry.element.querySelector("[data-pointed]");
      if (!pointed) continue;
      const text = timeMs === null ? "" : this.#at(entry, timeMs);
      pointed.textContent = text;
      pointed.parentElement.toggleAttribute("data-past", timeMs !== null);
    }
  }

  #at(entry, timeMs) {
    const { series } = entry.trace;
    const bucket = series?.nearest(timeMs) ?? -1;
    if (bucket < 0) return "\u2013";
    const far = !series.stepped && Math.abs(series.times[bucket] - timeMs) > Math.max(series.gapMs / 2, series.stepMs);
    return far ? "\u2013" : this.#say(entry, series.mean[bucket]);
  }

  #say({ element, trace, labels }, value) {
    const { kind, unit } = element.dataset;
    const text = lineText({ labels, kind, series: trace.series }, value);
    return unit ? `${text} ${unit}` : text;
  }

  #name({ element }) {
    return `${element.dataset.name} ${element.dataset.title ?? ""}`.trim();
  }

  #step(by) {
    const found = this.#plot.step(by);
    if (!found) return null;
    const values = this.#shown().map((entry) => `${this.#name(entry)} ${this.#at(entry, found.timeMs)}`);
    return { ...found, text: `${momentIn(this.#view, found.timeMs)}: ${values.join(", ")}` };
  }

  #savePicture() {
    const canvas = this.#plot.uplot?.ctx.canvas;
    if (!canvas) return;
    const lines = this.#lines();
    savePicture(canvas, {
      element: this.#element,
      title: [...new Set(this.#shown().map(({ element }) => element.dataset.title))].join(", "),
      subtitle: this.#view.text,
      lines: this.#shown().map((entry, at) => {
        const { name, path, unit } = entry.element.dataset;
        return { text: `${name} ${path}${unit ? ` (${unit})` : ""}`, hue: lines[at].hue, dash: lines[at].dash };
      }),
      name: fileName("compare"),
    });
  }

  /** What is drawn, as a table; every sample of a device is had from its own page. */
  #saveTable() {
    const [begin, end] = this.#view.window();
    const rows = this.#shown().flatMap(({ element, trace: { series } }) => {
      const { endpoint, path, title, unit } = element.dataset;
      const seen = [...series.times.keys()].filter((at) => series.times[at] >= begin && series.times[at] <= end);
      return seen.map((at) => {
        const time = new Date(series.times[at]).toISOString();
        const { min, mean, max, count } = series;
        return [endpoint, path, title, unit, series.times[at], time, min[at], mean[at], max[at], count[at]];
      });
    });
    saveTable([HEAD, ...rows], fileName("compare"));
  }
}
