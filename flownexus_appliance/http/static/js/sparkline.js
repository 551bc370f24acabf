// Sparklines: the last day (of a young device the last hour) of a reading, the size of a word.
import { boxTime } from "./app.js";
import { getJson } from "./fetching.js";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const YOUNG_MS = 3 * HOUR_MS;
const POINTS = 60;
const AT_ONCE = 24;
const WIDTH = 100;
const HEIGHT = 28;
// While values come in, the lines in sight are drawn this often and no more.
const LIVE_PAUSE_MS = 400;
const SVG = "http://www.w3.org/2000/svg";

export class Sparklines {
  #lines = new Map(); // svg element -> {path, endpoint, spanMs, times, values}
  #byKey = new Map(); // "path:endpoint" -> svg elements: a device may be shown more than once
  #wanted = new Set();
  #dirty = new Set();
  #timer = 0;
  #pause = 0;
  #inSight = new Set();
  #watcher = new IntersectionObserver((entries) => this.#onSight(entries), { rootMargin: "200px" });

  /** Draws the sparklines below `root`, each when it comes into sight; forgets all before. */
  attach(root) {
    this.#watcher.disconnect();
    this.#inSight.clear();
    this.#dirty.clear();
    const before = this.#byKey;
    const lines = this.#lines;
    this.#lines = new Map();
    this.#byKey = new Map();
    for (const svg of root.querySelectorAll("svg[data-spark]")) {
      const card = svg.closest("[data-endpoint]");
      const key = `${svg.dataset.spark}:${card.dataset.endpoint}`;
      const known = lines.get(before.get(key)?.[0]) ?? this.#lines.get(this.#byKey.get(key)?.[0]);
      const young = boxTime() - Number(card.dataset.since) < YOUNG_MS;
      this.#lines.set(svg, known ?? { key, spanMs: young ? HOUR_MS : DAY_MS, times: null, values: null });
      this.#byKey.set(key, [...(this.#byKey.get(key) ?? []), svg]);
      if (known?.times) this.#draw(svg);
      this.#watcher.observe(svg);
    }
  }

  /** Adds a live sample. */
  add(endpoint, path, timeMs, value) {
    const shown = this.#byKey.get(`${path}:${endpoint}`) ?? [];
    const line = this.#lines.get(shown[0]);
    if (!line?.times || typeof value !== "number") return;
    const { times, values, spanMs } = line;
    const last = times.length - 1;
    if (last >= 0 && timeMs <= times[last]) return;
    if (last >= 0 && timeMs - times[last] < spanMs / POINTS / 2) {
      values[last] = value;
    } else {
      times.push(timeMs);
      values.push(value);
      while (times[0] < timeMs - spanMs) {
        times.shift();
        values.shift();
      }
    }
    for (const svg of shown) this.#dirty.add(svg);
    this.#pause ||= setTimeout(() => {
      this.#pause = 0;
      requestAnimationFrame(() => this.#drawDirty());
    }, LIVE_PAUSE_MS);
  }

  #onSight(entries) {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) this.#inSight.add(target);
      else this.#inSight.delete(target);
      if (isIntersecting && !this.#lines.get(target)?.times) this.#wanted.add(target);
    }
    if (this.#wanted.size) this.#timer ||= setTimeout(() => this.#load(), 30);
    this.#drawDirty();
  }

  /** Draws what has changed and is in sight; the rest when it comes there. */
  #drawDirty() {
    for (const svg of this.#dirty) {
      if (!this.#inSight.has(svg)) continue;
      this.#draw(svg);
      this.#dirty.delete(svg);
    }
  }

  async #load() {
    this.#timer = 0;
    // One each line: the others of it are drawn with it.
    const wanted = [...new Map([...this.#wanted].map((svg) => [this.#lines.get(svg), svg])).values()].filter(
      (svg) => this.#lines.has(svg),
    );
    this.#wanted.clear();
    for (const spanMs of [HOUR_MS, DAY_MS]) {
      const group = wanted.filter((svg) => this.#lines.get(svg)?.spanMs === spanMs);
      for (let start = 0; start < group.length; start += AT_ONCE) {
        await this.#fetch(group.slice(start, start + AT_ONCE), spanMs);
      }
    }
  }

  async #fetch(group, spanMs) {
    // While the answer before was waited for, the list may have changed.
    const keys = group.flatMap((svg) => this.#lines.get(svg)?.key ?? []);
    if (!keys.length) return;
    const to = Math.ceil(boxTime());
    const query = new URLSearchParams({ from_ms: to - spanMs, to_ms: to + 1, points: POINTS });
    for (const key of keys) query.append("series", key);
    let items;
    try {
      ({ items } = await getJson(`/api/v1/sparklines?${query}`));
    } catch {
      return; // the figures stand beside it; the next visit draws it
    }
    for (const item of items) {
      const shown = this.#byKey.get(`${item.path}:${item.endpoint}`) ?? [];
      const line = this.#lines.get(shown[0]);
      if (!line) continue;
      line.times = item.time_ms;
      line.values = item.mean;
      for (const svg of shown) this.#draw(svg);
    }
  }

  #draw(svg) {
    const line = this.#lines.get(svg);
    if (!line) return;
    const d = line.times ? outline(line.times, line.values) : "";
    if (!svg.firstChild) {
      for (const name of ["under", "line"]) {
        const path = document.createElementNS(SVG, "path");
        path.classList.add(name);
        svg.append(path);
      }
    }
    const [under, stroke] = svg.children;
    stroke.setAttribute("d", d);
    under.setAttribute("d", d && `${d}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
  }
}

/** The path of a line through the points, scaled to fill the picture; "" for fewer than two. */
export function outline(times, values) {
  if (times.length < 2) return "";
  const first = times[0];
  const span = times[times.length - 1] - first || 1;
  let low = Math.min(...values);
  let height = Math.max(...values) - low;
  // A hair's breadth of change is not to look like a mountain.
  const least = Math.abs(low) * 0.02;
  if (height < least) {
    low -= (least - height) / 2;
    height = least;
  }
  const margin = 3;
  const points = times.map((time, index) => {
    const x = ((time - first) / span) * WIDTH;
    const share = height ? (values[index] - low) / height : 0.5;
    const y = HEIGHT - margin - share * (HEIGHT - 2 * margin);
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  });
  return `M${points.join("L")}`;
}
