// A drawing of lines over time by uPlot: made when there is something to see, drawn no more often than needed.
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { boxTime } from "./app.js";
import {
  FONT_PX,
  TIME_TICKS,
  WHOLE_STEPS,
  axisSize,
  axisWord,
  dateForm,
  lonely,
  nearestTold,
  stateSteps,
  stateText,
  tickTexts,
  timeRoom,
  timeSpace,
  translucent,
  valueSpan,
} from "./plotting.js";

// While samples come in, a few pictures a second are a film.
const LIVE_PAUSE_MS = 250;
// Above the lines: room for half a tick, and for a unit where there is one.
const TOP_PX = 10;
const UNIT_PX = 26;
const NARROW_PX = 480;

/**
 * `lines()` gives what is to be drawn: {series, hue, dash (lengths), axis (1 left, 2 right), unit, kind, labels,
 * band (whether extremes may be shaded)}. `drawn()` is called after each drawing, `pointed(timeMs)` when the
 * cursor is at another moment, null when it has left.
 */
export class Plot {
  #box;
  #view;
  #source;
  #uplot = null;
  #shape = ""; // what the present uPlot was made for
  #lines = [];
  #frame = 0;
  #timer = 0;
  #last = -Infinity;
  #note = null;

  constructor(box, view, source) {
    this.#box = box;
    this.#view = view;
    this.#source = source;
    this.visible = false;
    new ResizeObserver(() => this.#resize()).observe(box);
  }

  get uplot() {
    return this.#uplot;
  }

  /** Pixels across, for as many buckets. */
  get points() {
    return Math.max(60, this.#box.clientWidth);
  }

  /** Draws what has changed: `soon` in the next frame, else a few times a second. Not what nobody sees. */
  update(soon = false) {
    if (!this.visible || document.hidden || this.#frame) return;
    if (soon) {
      clearTimeout(this.#timer);
      this.#timer = 0;
      this.#frame = requestAnimationFrame(() => this.#draw());
    } else {
      const wait = Math.max(0, this.#last + LIVE_PAUSE_MS - performance.now());
      this.#timer ||= setTimeout(() => {
        this.#timer = 0;
        this.#frame ||= requestAnimationFrame(() => this.#draw());
      }, wait);
    }
  }

  /** Draws all anew: colours have changed. */
  redraw() {
    this.#shape = "";
    this.update(true);
  }

  /** Shows a message in place of lines; "" takes it away. */
  say(text, ...more) {
    this.#note?.remove();
    this.#note = null;
    if (!text) return;
    this.#note = document.createElement("div");
    this.#note.className = "plot-note";
    this.#note.append(text, ...more);
    this.#box.append(this.#note);
  }

  /** Takes the lines away, and shows a message. */
  clear(text, ...more) {
    this.#uplot?.destroy();
    this.#uplot = null;
    this.#shape = "";
    this.say(text, ...more);
  }

  /** Puts the cursor at a moment. */
  point(timeMs) {
    const u = this.#uplot;
    if (u) u.setCursor({ left: u.valToPos(timeMs / 1000, "x"), top: u.over.clientHeight / 2 }, true, true);
  }

  /** Takes the cursor away. */
  leave() {
    this.#uplot?.setCursor({ left: -10, top: -10 }, true, true);
  }

  /** Goes on by so many moments, within what is in view; from the newest where the cursor is nowhere. */
  step(by) {
    const u = this.#uplot;
    if (!u) return null;
    const { min, max } = u.scales.x;
    const times = u.data[0].filter((time, at) => time >= min && time <= max && this.#told(at));
    if (!times.length) return null;
    const now = u.cursor.idx === null || u.cursor.idx === undefined ? Infinity : u.data[0][u.cursor.idx];
    const before = times.findLastIndex((time) => time <= now);
    const wanted = now === Infinity && Number.isFinite(by) ? times.length - 1 : before + by;
    const at = Math.max(0, Math.min(times.length - 1, wanted));
    this.point(times[at] * 1000);
    return { number: at + 1, count: times.length, timeMs: times[at] * 1000 };
  }

  #told(at) {
    return this.#lines.some((_line, index) => typeof this.#uplot.data[1 + 3 * index][at] === "number");
  }

  #draw() {
    this.#frame = 0;
    this.#last = performance.now();
    this.#lines = this.#source.lines();
    const [begin, end] = this.#view.window();
    const shown = this.#lines.length > 0 && this.#lines.some((line) => !line.series.empty(begin, end));
    if (shown) {
      const until = Math.min(end, boxTime());
      const tables = this.#lines.map((line) => line.series.columns(begin, until));
      const data = tables.length === 1 ? tables[0] : uPlot.join(tables);
      const style = getComputedStyle(this.#box);
      const shape = JSON.stringify([this.#lines.map(shapeOf), style.color]);
      if (shape === this.#shape) {
        this.#uplot.setData(data);
      } else {
        this.say("");
        this.#uplot?.destroy();
        this.#uplot = new uPlot(this.#options(style), data, this.#box);
        this.#shape = shape;
      }
    } else if (this.#uplot) {
      this.clear("");
    }
    this.#source.drawn(shown);
  }

  #options(style) {
    const colour = (name) => style.getPropertyValue(name).trim();
    const font = `${FONT_PX}px ${colour("--font")}`;
    const axes = [...new Set(this.#lines.map((line) => line.axis))].sort();
    const hue = (_u, index) => this.#lines[Math.floor((index - 1) / 3)]?.hue ?? colour("--ink");
    return {
      ...this.#size(),
      padding: [this.#lines.some((line) => line.unit) ? UNIT_PX : TOP_PX, axes.includes(2) ? 0 : () => timeRoom(this.#view.window()), 0, axes.includes(1) ? 4 : 12],
      legend: { show: false },
      fmtDate: dateForm,
      cursor: {
        drag: { x: false, y: false },
        y: false,
        sync: this.#source.sync ? { key: this.#source.sync } : undefined,
        dataIdx: (u, index, at) => (index === 0 || this.#lines.length === 1 ? at : nearestTold(u.data[index], at)),
        points: { size: (_u, index) => (index % 3 === 1 ? 9 : 0), fill: hue, stroke: colour("--card"), width: 2 },
      },
      scales: {
        x: { range: () => this.#view.window().map((moment) => moment / 1000) },
        ...Object.fromEntries(axes.map((axis) => [`y${axis}`, this.#scale(axis)])),
      },
      series: [{}, ...this.#lines.flatMap((line) => drawnLine(line))],
      bands: this.#lines.flatMap((line, index) =>
        banded(line) ? [{ series: [3 * index + 2, 3 * index + 3], fill: translucent(line.hue, 0.18) }] : [],
      ),
      axes: [
        { ...plainAxis(colour, font), values: TIME_TICKS, space: timeSpace, size: 40 },
        ...axes.map((axis) => ({ ...plainAxis(colour, font), ...this.#axis(axis), grid: grid(colour, axis === axes[0]) })),
      ],
      hooks: {
        setCursor: [(u) => this.#source.pointed(u.cursor.idx === null || u.cursor.idx === undefined ? null : u.data[0][u.cursor.idx] * 1000)],
        draw: [(u) => this.#units(u, font, colour("--muted"))],
      },
    };
  }

  #at(axis) {
    return this.#lines.filter((line) => line.axis === axis);
  }

  #scale(axis) {
    return { range: (_u, low, high) => valueSpan(this.#at(axis), low, high) };
  }

  #axis(axis) {
    const [first] = this.#at(axis);
    const whole = this.#at(axis).every((line) => line.series.dataType !== "float");
    const side = { scale: `y${axis}`, side: axis === 1 ? 3 : 1, size: axisSize, space: 32 };
    if (!first.labels) return { ...side, incrs: whole ? WHOLE_STEPS : undefined, values: (_u, ticks) => tickTexts(ticks) };
    return {
      ...side,
      splits: (_u, _axis, low, high) => stateSteps(first.labels, low, high).filter((step) => step >= low && step <= high),
      values: (u, ticks) => ticks.map((tick) => axisWord(u, stateText(first.labels, tick))),
    };
  }

  /** The unit of an axis above its end, in the canvas, so that a picture of it has them too. */
  #units(u, font, colour) {
    const { ctx } = u;
    const ratio = uPlot.pxRatio;
    ctx.save();
    ctx.font = font.replace(/^\d+px/, `${FONT_PX * ratio}px`);
    ctx.fillStyle = colour;
    ctx.textBaseline = "alphabetic";
    for (const axis of [1, 2]) {
      const unit = this.#at(axis)[0]?.unit;
      if (!unit) continue;
      ctx.textAlign = axis === 1 ? "left" : "right";
      ctx.fillText(unit, axis === 1 ? 8 * ratio : ctx.canvas.width - 8 * ratio, (UNIT_PX - 12) * ratio);
    }
    ctx.restore();
  }

  #size() {
    return { width: this.#box.clientWidth, height: this.#box.clientHeight };
  }

  #resize() {
    const { width, height } = this.#size();
    if (!this.#uplot || !width || (width === this.#uplot.width && height === this.#uplot.height)) return;
    // Words at the axis are cut by the width, which uPlot asks for once.
    if (width < NARROW_PX !== this.#uplot.width < NARROW_PX) this.redraw();
    else this.#uplot.setSize({ width, height });
  }
}

/** What a uPlot is made for; with anything else another one is. */
function shapeOf(line) {
  return [line.hue, line.dash, line.axis, line.unit, line.labels, line.series.dataType, banded(line)];
}

function banded(line) {
  return line.band && line.series.banded;
}

/** uPlot's series for a line: its means, and beside them its extremes, which only bound the band. */
function drawnLine({ hue, dash, axis, labels }) {
  const paths = labels ? uPlot.paths.stepped({ align: 1 }) : undefined;
  const scale = `y${axis}`;
  const edge = { scale, stroke: "transparent", width: 0, points: { show: false }, paths };
  return [{ scale, stroke: hue, width: 2, dash, paths, points: { size: 5, fill: hue, filter: lonely } }, edge, edge];
}

function plainAxis(colour, font) {
  return { stroke: colour("--muted"), font, grid: grid(colour, true), ticks: { show: false } };
}

function grid(colour, show) {
  return { show, stroke: colour("--line"), width: 1 };
}
