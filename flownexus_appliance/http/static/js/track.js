// Where a device was in the time in view: a plan without a map, north up, with a scale. Nothing from outside.
import { LOAD_PAUSE_MS, linkSpan, momentIn } from "./chart.js";
import { decimalText, numberText } from "./format.js";
import { _, n_ } from "./language.js";
import { fileName, savePicture } from "./picture.js";
import { stepping } from "./stepping.js";
import { Trace } from "./trace.js";
import { lengthOf, lengthText, places, projected, roundLength } from "./way.js";

const LIVE_PAUSE_MS = 250;
const MOST_POINTS = 1000;
const MARKED_POINTS = 80;
const PAD_PX = 24;
const FOOT_PX = 34;
const NEAR_PX = 28;
// A device that stands still wanders by some metres, which is no journey.
const LEAST_M = 30;
const NOTHING = _("No samples in this time span");

export class Track {
  #element;
  #box;
  #readout;
  #endpoint;
  #view;
  #latitudes;
  #longitudes;
  #canvas = null;
  #way = [];
  #drawn = []; // the places in pixels
  #at = -1; // the one that is pointed at
  #visible = false;
  #timer = 0;
  #pause = 0;
  #frame = 0;

  constructor(element, endpoint, view) {
    this.#element = element;
    this.#box = element.querySelector("[data-plot]");
    this.#readout = element.querySelector("[data-readout]");
    this.#endpoint = endpoint;
    this.#view = view;
    const { latitude, longitude, source } = element.dataset;
    [this.#latitudes, this.#longitudes] = [latitude, longitude].map((path) => new Trace(endpoint, path, { source }));
    this.#canvas = document.createElement("canvas");
    this.#box.append(this.#canvas);
    for (const name of ["pointermove", "pointerdown"]) this.#box.addEventListener(name, (event) => this.#hover(event));
    this.#box.addEventListener("pointerleave", () => this.#point(-1));
    stepping(element.querySelector(".plot-frame"), element.getAttribute("aria-label"), {
      step: (by) => this.#step(by),
      leave: () => this.#point(-1),
      act: (name) => view.act(name, this.#way[this.#at]?.timeMs),
    });
    element.querySelector("[data-png]").addEventListener("click", () => this.#save());
    element.addEventListener("click", () => linkSpan(element, view));
    linkSpan(element, view);
    view.onChange(() => this.#moved());
    new ResizeObserver(() => this.redraw()).observe(this.#box);
  }

  /** It is in sight. */
  show() {
    this.#visible = true;
    if (this.#wanting() && !this.#latitudes.loading) this.reload();
    else this.redraw();
  }

  /** It is out of sight. */
  hide() {
    this.#visible = false;
  }

  /** Fetch the coordinates anew and draw them. */
  async reload() {
    const both = [this.#latitudes, this.#longitudes];
    if (!this.#visible) {
      for (const trace of both) trace.forget();
      return;
    }
    try {
      const loaded = await Promise.all(both.map((trace) => trace.load(this.#view, MOST_POINTS)));
      if (!loaded.every(Boolean)) return;
      this.redraw();
      for (const trace of both) this.#view.learn(trace.firstMs);
    } catch {
      if (!this.#way.length) this.#readout.textContent = _("The samples could not be loaded");
    }
  }

  /** Takes a live sample of either coordinate. */
  add(sample) {
    const trace = sample.path === this.#element.dataset.latitude ? this.#latitudes : this.#longitudes;
    if (!trace.add(sample) || !this.#visible) return;
    this.#pause ||= setTimeout(() => {
      this.#pause = 0;
      this.redraw();
    }, LIVE_PAUSE_MS);
  }

  /** Time goes on. */
  update() {
    if (!this.#visible || !this.#latitudes.series) return;
    if (this.#wanting() && !this.#latitudes.loading) this.reload();
    else this.redraw();
  }

  /** Draws all anew. */
  redraw() {
    if (!this.#visible || document.hidden) return;
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #wanting() {
    return this.#latitudes.wanting(this.#view) || this.#longitudes.wanting(this.#view);
  }

  #moved() {
    this.redraw();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#visible && this.#wanting() && this.reload(), LOAD_PAUSE_MS);
  }

  #draw() {
    const [latitudes, longitudes] = [this.#latitudes.series, this.#longitudes.series];
    if (!latitudes || !longitudes) return;
    const pointed = this.#way[this.#at]?.timeMs;
    const [begin, end] = this.#view.window();
    // The device's clock may be a little ahead of this one.
    this.#way = places(latitudes, longitudes, begin, this.#view.fixed ? end : Infinity);
    this.#at = this.#way.findIndex((place) => place.timeMs === pointed);
    const ctx = this.#surface();
    const style = getComputedStyle(this.#element);
    const colours = Object.fromEntries(
      ["hue", "muted", "line", "card", "ink"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]),
    );
    colours.font = `12px ${style.getPropertyValue("--font").trim()}`;
    const metres = projected(this.#way);
    const scale = this.#fit(metres);
    if (metres.length) {
      drawWay(ctx, this.#drawn, this.#way, colours);
      drawFrame(ctx, this.#box, scale, colours);
      if (this.#at >= 0) ring(ctx, this.#drawn[this.#at], 8, colours.ink);
    }
    this.#tell(metres);
  }

  #surface() {
    const { clientWidth: width, clientHeight: height } = this.#box;
    const ratio = window.devicePixelRatio;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const ctx = this.#canvas.getContext("2d");
    ctx.scale(ratio, ratio);
    return ctx;
  }

  /** Places the way in the middle; pixels a metre. */
  #fit(metres) {
    const { clientWidth: width, clientHeight: height } = this.#box;
    const extent = (axis) => Math.max(LEAST_M, 2 * Math.max(0, ...metres.map((one) => Math.abs(one[axis]))));
    const scale = Math.min((width - 2 * PAD_PX) / extent("x"), (height - PAD_PX - FOOT_PX) / extent("y"));
    const [x, y] = [width / 2, (PAD_PX + height - FOOT_PX) / 2];
    this.#drawn = metres.map((one) => ({ x: x + one.x * scale, y: y - one.y * scale }));
    return scale;
  }

  #hover(event) {
    const { left, top } = this.#canvas.getBoundingClientRect();
    let [best, nearest] = [NEAR_PX, -1];
    for (const [at, place] of this.#drawn.entries()) {
      const away = Math.hypot(place.x - event.clientX + left, place.y - event.clientY + top);
      if (away <= best) [best, nearest] = [away, at];
    }
    this.#point(nearest);
  }

  #point(at) {
    if (at === this.#at) return;
    this.#at = at;
    this.redraw();
  }

  #step(by) {
    const count = this.#way.length;
    if (!count) return null;
    const wanted = this.#at < 0 && Number.isFinite(by) ? count - 1 : this.#at + by;
    this.#point(Math.max(0, Math.min(count - 1, wanted)));
    return { number: this.#at + 1, count, text: this.#text(this.#way[this.#at]) };
  }

  #text({ timeMs, latitude, longitude }) {
    return `${momentIn(this.#view, timeMs)} \u00b7 ${numberText(latitude, true)}\u00b0, ${numberText(longitude, true)}\u00b0`;
  }

  #tell(metres) {
    const text = metres.length ? this.#summary(metres) : NOTHING;
    this.#readout.textContent = this.#at >= 0 ? this.#text(this.#way[this.#at]) : text;
    const newest = metres.length ? ` ${_("Newest: %(place)s.", { place: this.#text(this.#way.at(-1)) })}` : "";
    this.#box.setAttribute("role", "img");
    this.#box.setAttribute("aria-label", `${_("Track, %(span)s", { span: this.#view.text })}. ${text}.${newest}`);
  }

  #summary(metres) {
    const length = lengthText(lengthOf(metres), decimalText);
    return `${length} \u00b7 ${n_("%(num)s place", "%(num)s places", metres.length)}`;
  }

  #save() {
    if (!this.#way.length) return;
    savePicture(this.#canvas, {
      element: this.#element,
      title: this.#element.getAttribute("aria-label"),
      subtitle: `${document.querySelector("h1").textContent.trim()} \u00b7 ${this.#view.text} \u00b7 ${this.#summary(projected(this.#way))}`,
      name: fileName(this.#endpoint, "track"),
    });
  }
}

function drawWay(ctx, points, way, { hue, card }) {
  ctx.strokeStyle = hue;
  ctx.lineWidth = 2;
  ctx.lineJoin = "round";
  ctx.beginPath();
  for (const [at, { x, y }] of points.entries()) {
    if (at === 0 || way[at].gap) ctx.moveTo(x, y);
    else ctx.lineTo(x, y);
  }
  ctx.stroke();
  if (points.length <= MARKED_POINTS) for (const point of points) dot(ctx, point, 2.5, hue);
  // Where it began is hollow, where it is now stands out.
  dot(ctx, points[0], 5, hue);
  dot(ctx, points[0], 3, card);
  dot(ctx, points.at(-1), 9, card);
  dot(ctx, points.at(-1), 7, hue);
}

/** North, and how long a length is. */
function drawFrame(ctx, { clientWidth: width, clientHeight: height }, scale, { muted, font }) {
  const length = roundLength(width / 4 / scale);
  const [x, y, across] = [PAD_PX / 2, height - 10, length * scale];
  ctx.strokeStyle = muted;
  ctx.fillStyle = muted;
  ctx.lineWidth = 1.5;
  ctx.font = font;
  ctx.beginPath();
  ctx.moveTo(x, y - 5);
  ctx.lineTo(x, y);
  ctx.lineTo(x + across, y);
  ctx.lineTo(x + across, y - 5);
  ctx.stroke();
  ctx.textAlign = "left";
  ctx.fillText(lengthText(length, decimalText), x + across + 6, y + 1);
  ctx.textAlign = "center";
  ctx.fillText(_("N"), width - 18, 34);
  ctx.beginPath();
  ctx.moveTo(width - 18, 8);
  ctx.lineTo(width - 12, 21);
  ctx.lineTo(width - 24, 21);
  ctx.fill();
}

function dot(ctx, { x, y }, radius, colour) {
  ctx.fillStyle = colour;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.fill();
}

function ring(ctx, { x, y }, radius, colour) {
  ctx.strokeStyle = colour;
  ctx.lineWidth = 2;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 2 * Math.PI);
  ctx.stroke();
}
