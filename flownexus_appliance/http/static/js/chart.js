// One chart of one resource: loads its series when it comes into sight, draws it, takes live samples.
import { boxTime } from "./app.js";
import { clockText, dayText } from "./format.js";
import { gestures } from "./gestures.js";
import { _, n_ } from "./language.js";
import { fileName, savePicture } from "./picture.js";
import { Plot } from "./plot.js";
import { lineText } from "./plotting.js";
import { stepping } from "./stepping.js";
import { Trace } from "./trace.js";

const SYNC = "flownexus";
// A hand that zooms passes many spans; the one it stops at is asked for.
export const LOAD_PAUSE_MS = 180;
const DAY_MS = 24 * 3600 * 1000;
const HOUR_MS = 3600 * 1000;
const NOTHING = _("No samples in this time span");

export class Chart {
  #element;
  #box;
  #readout;
  #endpoint;
  #view;
  #labels;
  #trace;
  #plot;
  #timer = 0;
  #pointed = null;

  constructor(element, endpoint, view) {
    this.#element = element;
    this.#box = element.querySelector("[data-plot]");
    this.#readout = element.querySelector("[data-readout]");
    this.#endpoint = endpoint;
    this.#view = view;
    this.#labels = element.dataset.labels ? JSON.parse(element.dataset.labels) : null;
    this.#trace = new Trace(endpoint, element.dataset.chart, { stepped: this.#labels !== null });
    this.#plot = new Plot(this.#box, view, {
      sync: SYNC,
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
    element.querySelector("[data-png]").addEventListener("click", () => this.#save());
    view.onChange(() => this.#moved());
    // The links are as new as the click on them.
    element.addEventListener("click", () => linkSpan(element, view));
    linkSpan(element, view);
  }

  /** It is in sight. */
  show() {
    this.#plot.visible = true;
    if (this.#trace.wanting(this.#view) && !this.#trace.loading) this.reload();
    else this.#plot.update(true);
  }

  /** It is out of sight. */
  hide() {
    this.#plot.visible = false;
  }

  /** Fetch the series anew and draw it. */
  async reload() {
    if (!this.#plot.visible) {
      this.#trace.forget();
      return;
    }
    if (!this.#plot.uplot) this.#plot.say(_("Loading"));
    try {
      if (!(await this.#trace.load(this.#view, this.#plot.points))) return;
      this.#plot.update(true);
      this.#view.learn(this.#trace.firstMs);
    } catch {
      this.#fail();
    }
  }

  /** Takes a live sample. */
  add(sample) {
    if (this.#trace.add(sample)) this.#plot.update();
  }

  /** Time goes on. */
  update() {
    if (!this.#plot.visible || !this.#trace.series) return;
    const [begin] = this.#view.window();
    if (!this.#view.fixed) this.#trace.series.trim(begin);
    // A young device's window grows: twice as wide, it wants wider buckets.
    if (this.#trace.wanting(this.#view) && !this.#trace.loading) this.reload();
    else this.#plot.update();
  }

  /** Colours have changed. */
  redraw() {
    this.#plot.redraw();
  }

  #moved() {
    linkSpan(this.#element, this.#view);
    this.#plot.update(true);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#plot.visible && this.#trace.wanting(this.#view)) this.reload();
    }, LOAD_PAUSE_MS);
  }

  #lines() {
    if (!this.#trace.series) return [];
    const hue = getComputedStyle(this.#element).getPropertyValue("--hue").trim();
    const { kind, unit } = this.#element.dataset;
    return [{ series: this.#trace.series, hue, axis: 1, unit, kind, labels: this.#labels, band: true }];
  }

  #drawn(shown) {
    if (!this.#trace.series) return;
    if (shown) this.#plot.say("");
    else this.#plot.clear(this.#trace.loading || this.#trace.wanting(this.#view) ? _("Loading") : NOTHING);
    if (this.#pointed === null) this.#summarize(shown);
  }

  /** The line above the plot: what lies under the cursor, or the extremes of the whole. */
  #point(timeMs) {
    const text = timeMs === null ? "" : this.#text(timeMs);
    this.#pointed = text ? timeMs : null;
    if (text) this.#readout.textContent = text;
    else this.#summarize(true);
  }

  #text(timeMs) {
    const { series } = this.#trace;
    const bucket = series?.nearest(timeMs) ?? -1;
    if (bucket < 0) return "";
    const { min, mean, max } = series;
    const say = (value) => this.#say(value);
    const spread = min[bucket] === max[bucket] ? "" : ` (${say(min[bucket])} ${_("to")} ${say(max[bucket])})`;
    const moment = series.stepped ? timeMs : series.times[bucket];
    return `${momentIn(this.#view, moment)} \u00b7 ${withUnit(say(mean[bucket]), this.#element)}${spread}`;
  }

  #step(by) {
    const found = this.#plot.step(by);
    return found && { ...found, text: this.#text(found.timeMs) };
  }

  #summarize(shown) {
    const { series } = this.#trace;
    if (!series) return;
    const text = shown ? this.#summary(series) : NOTHING;
    const title = this.#element.getAttribute("aria-label");
    this.#readout.textContent = shown ? text : "\u00a0";
    this.#box.setAttribute("role", "img");
    this.#box.setAttribute("aria-label", `${_("Chart of %(title)s, %(span)s", { title, span: this.#view.text })}. ${text}`);
  }

  #summary(series) {
    const { low, high, mean, count } = series.summary(...this.#view.window());
    if (this.#labels) return n_("%(num)s sample", "%(num)s samples", count);
    return `${_("Low")} ${this.#say(low)} \u00b7 ${_("Mean")} ${this.#say(mean)} \u00b7 ${_("High")} ${this.#say(high)}`;
  }

  #say(value) {
    const { kind } = this.#element.dataset;
    return lineText({ labels: this.#labels, kind, series: this.#trace.series }, value);
  }

  #save() {
    const canvas = this.#plot.uplot?.ctx.canvas;
    if (!canvas) return;
    const { unit, chart: path } = this.#element.dataset;
    const title = this.#element.getAttribute("aria-label");
    const device = document.querySelector("h1").textContent.trim();
    savePicture(canvas, {
      element: this.#element,
      title: unit ? `${title} (${unit})` : title,
      subtitle: `${device} ${path} \u00b7 ${this.#view.text} \u00b7 ${this.#summary(this.#trace.series)}`,
      name: fileName(this.#endpoint, path.slice(1)),
    });
  }

  #fail() {
    // What is there stays; the stream's sign tells that the box is away.
    if (this.#plot.uplot) return;
    const retry = document.createElement("button");
    retry.type = "button";
    retry.className = "button";
    retry.textContent = _("Try again");
    retry.addEventListener("click", () => this.reload());
    this.#plot.clear(_("The samples could not be loaded"), retry);
  }
}

/** A moment as finely as the time in view tells it. */
export function momentIn(view, timeMs) {
  const [begin, end] = view.window();
  const moment = new Date(timeMs);
  const near = end - begin <= DAY_MS && end > boxTime() - DAY_MS;
  return `${near ? "" : `${dayText(moment)}, `}${clockText(moment, end - begin <= HOUR_MS)}`;
}

/** Has the links below a chart mean the time in view. */
export function linkSpan(element, view) {
  const [begin, end] = view.window().map(Math.round);
  const csv = element.querySelector("a[data-csv]");
  const compare = element.querySelector("a[data-compare-link]");
  for (const [link, names] of [
    [csv, { from_ms: begin, to_ms: end }],
    [compare, view.query()],
  ]) {
    if (!link) continue;
    const address = new URL(link.href);
    for (const [name, value] of Object.entries(names)) {
      if (value === null) address.searchParams.delete(name);
      else address.searchParams.set(name, value);
    }
    link.href = address;
  }
}

function withUnit(text, element) {
  const { unit } = element.dataset;
  return unit ? `${text} ${unit}` : text;
}
