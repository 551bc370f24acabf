// One chart: loads its series when it comes into sight, draws it with uPlot, takes live samples.
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { boxTime } from "./app.js";
import { getJson } from "./fetching.js";
import { clockText, dayText, valueText } from "./format.js";
import { DAY_S, HOUR_S, TIME_TICKS, WHOLE_STEPS, lonely, tickTexts, translucent } from "./plotting.js";
import { Series } from "./series.js";
import { TEXTS } from "./texts.js";

const MAX_POINTS = 1500;
const SYNC = "flownexus";
const LEAST_WINDOW_S = 120;

export class Chart {
  #element;
  #plot;
  #readout;
  #url;
  #range; // {seconds, text}
  #since; // when the device was first seen: before that there is nothing to show
  #loadedSpan = 0;
  #series = null;
  #uplot = null;
  #labels;
  #kind;
  #early = []; // live samples that came while the series was loading
  #loading = null;
  #frame = 0;
  #note = null;

  constructor(element, endpoint, range, since) {
    this.#element = element;
    this.#plot = element.querySelector("[data-plot]");
    this.#readout = element.querySelector("[data-readout]");
    this.#kind = element.dataset.kind;
    this.#labels = element.dataset.labels ? JSON.parse(element.dataset.labels) : null;
    this.#range = range;
    this.#since = since;
    this.#url = `/api/v1/endpoints/${encodeURIComponent(endpoint)}/series${element.dataset.chart}`;
    this.visible = false;
    new ResizeObserver(() => this.#resize()).observe(this.#plot);
  }

  /** Load when this is first called, or when the range was changed since. */
  show() {
    this.visible = true;
    if (!this.#series && !this.#loading) this.reload();
    else this.update();
  }

  set range(range) {
    this.#range = range;
    this.#loading?.abort();
    this.#loading = null;
    this.#series = null;
    if (this.visible) this.reload();
  }

  /** Fetch the series anew and draw it. */
  async reload() {
    this.#loading?.abort();
    const loading = new AbortController();
    this.#loading = loading;
    this.#early = [];
    if (!this.#uplot) this.#say(TEXTS.loading);
    const to = Math.ceil(boxTime()) + 1;
    const [begin, end] = this.#window();
    this.#loadedSpan = end - begin;
    const from = Math.floor(begin * 1000);
    const points = Math.max(60, Math.min(MAX_POINTS, this.#plot.clientWidth));
    try {
      const answer = await getJson(`${this.#url}?from_ms=${from}&to_ms=${to}&points=${points}`, loading.signal);
      if (loading !== this.#loading) return;
      const series = new Series(this.#range.seconds * 1000, this.#labels !== null);
      series.load(answer);
      for (const sample of this.#early) series.add(sample.time_ms, sample.value);
      this.#series = series;
      this.#loading = null;
      this.redraw();
    } catch {
      if (loading !== this.#loading) return;
      this.#loading = null;
      this.#fail();
    }
  }

  /** Takes a live sample. */
  add(sample) {
    if (this.#loading) this.#early.push(sample);
    if (this.#series?.add(sample.time_ms, sample.value)) this.update();
  }

  /** Draws what has changed, at most once a frame. */
  update() {
    if (!this.#series || !this.visible) return;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      if (!this.#series) return;
      const [begin, end] = this.#window();
      // A young device's window grows: twice as wide, it wants wider buckets.
      if (end - begin > 2 * this.#loadedSpan) this.reload();
      else if (!this.#uplot) this.redraw();
      else this.#uplot.setData(this.#series.columns(boxTime()));
      this.#summarize();
    });
  }

  /** Draws all anew: after loading, and when colours have changed. */
  redraw() {
    if (!this.#series) return;
    this.#uplot?.destroy();
    this.#uplot = null;
    const data = this.#series.columns(boxTime());
    if (this.#series.empty) {
      this.#say(TEXTS.noSamples);
      this.#readout.textContent = "\u00a0";
      return;
    }
    this.#say("");
    this.#uplot = new uPlot(this.#options(), data, this.#plot);
    this.#summarize();
  }

  #options() {
    const style = getComputedStyle(this.#element);
    const colour = (name) => style.getPropertyValue(name).trim();
    const hue = colour("--hue");
    const paths = this.#labels ? uPlot.paths.stepped({ align: 1 }) : undefined;
    const edge = { stroke: "transparent", width: 0, points: { show: false }, paths };
    const axis = {
      stroke: colour("--muted"),
      font: `12px ${colour("--font")}`,
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    return {
      ...this.#size(),
      padding: [26, 12, 0, 4],
      legend: { show: false },
      cursor: {
        drag: { x: false, y: false },
        y: false,
        sync: { key: SYNC },
        points: { size: (_, index) => (index === 1 ? 9 : 0), fill: hue, stroke: colour("--card"), width: 2 },
      },
      scales: {
        x: { range: () => this.#window() },
        y: { range: (_, low, high) => this.#span(low, high) },
      },
      series: [{}, { stroke: hue, width: 2, paths, points: { size: 5, fill: hue, filter: lonely } }, edge, edge],
      bands: this.#series.banded ? [{ series: [2, 3], fill: translucent(hue, 0.18) }] : [],
      axes: [
        { ...axis, values: TIME_TICKS, space: 56, size: 40 },
        {
          ...axis,
          splits: this.#labels ? () => this.#steps() : undefined,
          incrs: this.#series.dataType === "float" ? undefined : WHOLE_STEPS,
          values: (_, ticks) => this.#tickTexts(ticks),
          size: (_, texts) => 14 + 6.8 * Math.max(3, ...(texts ?? []).map((text) => text.length)),
          space: 32,
        },
      ],
      hooks: { setCursor: [(u) => this.#point(u.cursor.idx)] },
    };
  }

  #window() {
    const now = boxTime() / 1000;
    const young = Math.min(this.#since / 1000, now - LEAST_WINDOW_S);
    return [Math.max(now - this.#range.seconds, young), now];
  }

  #span(low, high) {
    if (low === null || high === null) return [0, 1];
    if (this.#labels) {
      const steps = this.#steps();
      return [Math.min(low, steps[0]) - 0.3, Math.max(high, steps.at(-1)) + 0.3];
    }
    const room = (high - low) * 0.12 || Math.max(Math.abs(high) * 0.02, this.#series.dataType === "float" ? 0.5 : 1.5);
    const [bottom, top] = [low - room, high + room];
    // A quantity that is never negative does not get a floor below nothing.
    return [low >= 0 && bottom < 0 ? 0 : bottom, top];
  }

  #steps() {
    if ("true" in this.#labels) return [0, 1];
    const { low, high } = this.#series.summary();
    return Object.keys(this.#labels)
      .map(Number)
      .filter((step) => step >= Math.min(low, 0) && step <= Math.max(high, 1));
  }

  #tickTexts(ticks) {
    if (this.#labels) return ticks.map((tick) => this.#text(tick));
    return tickTexts(ticks);
  }

  #text(value) {
    if (!this.#labels) {
      const whole = this.#series.dataType !== "float" && Number.isInteger(value);
      return valueText(value, this.#kind, null, whole ? "integer" : "float");
    }
    const key = "true" in this.#labels ? String(value >= 0.5) : String(Math.round(value));
    return this.#labels[key] ?? String(value);
  }

  /** The line above the plot: what lies under the cursor, or the extremes of the whole. */
  #point(index) {
    const seconds = index === null || index === undefined ? null : this.#uplot?.data[0][index];
    const bucket = seconds === null || seconds === undefined ? -1 : this.#series.nearest(seconds * 1000);
    if (bucket < 0) {
      this.#summarize();
      return;
    }
    const { times, min, mean, max } = this.#series;
    const moment = new Date(times[bucket]);
    const near = this.#range.seconds <= DAY_S;
    const when = `${near ? "" : `${dayText(moment)}, `}${clockText(moment, this.#range.seconds <= HOUR_S)}`;
    const spread = min[bucket] === max[bucket] ? "" : ` (${this.#text(min[bucket])} ${TEXTS.to} ${this.#text(max[bucket])})`;
    this.#readout.textContent = `${when} · ${this.#withUnit(this.#text(mean[bucket]))}${spread}`;
  }

  #summarize() {
    if (!this.#series || this.#series.empty || (this.#uplot && this.#uplot.cursor.idx !== null && this.#uplot.cursor.idx !== undefined)) return;
    const { low, high, mean, count } = this.#series.summary();
    const text = this.#labels
      ? TEXTS.samples(count)
      : `${TEXTS.low} ${this.#text(low)} · ${TEXTS.mean} ${this.#text(mean)} · ${TEXTS.high} ${this.#text(high)}`;
    this.#readout.textContent = text;
    this.#plot.setAttribute("role", "img");
    this.#plot.setAttribute("aria-label", `${TEXTS.chart(this.#element.getAttribute("aria-label"), this.#range.text)}. ${text}`);
  }

  #withUnit(text) {
    const { unit } = this.#element.dataset;
    return unit ? `${text} ${unit}` : text;
  }

  #size() {
    return { width: this.#plot.clientWidth, height: this.#plot.clientHeight };
  }

  #resize() {
    const { width, height } = this.#size();
    if (this.#uplot && width && (width !== this.#uplot.width || height !== this.#uplot.height)) {
      this.#uplot.setSize({ width, height });
    }
  }

  #fail() {
    const retry = document.createElement("button");
    retry.type = "button";
    retry.className = "button";
    retry.textContent = TEXTS.retry;
    retry.addEventListener("click", () => this.reload());
    this.#say(TEXTS.notLoaded, retry);
  }

  #say(text, ...more) {
    this.#note?.remove();
    this.#note = null;
    if (!text) return;
    this.#note = document.createElement("div");
    this.#note.className = "plot-note";
    this.#note.append(text, ...more);
    this.#plot.append(this.#note);
  }
}
