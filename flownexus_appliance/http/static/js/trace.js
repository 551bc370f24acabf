// One series of one device as a chart needs it: asked for as fine as what is in view, kept current.
import { boxTime } from "./app.js";
import { getJson } from "./fetching.js";
import { Series } from "./series.js";

const MAX_POINTS = 3000;
const MAX_SAMPLES = 1000;

export class Trace {
  #api;
  #path;
  #source;
  #loading = null; // {abort, early: live samples that came meanwhile}
  #asked = null; // what was asked for last: {from, to, span}

  /** `source` is "series" for numbers, "history" for numbers told as text. */
  constructor(endpoint, path, { stepped = false, source = "series" } = {}) {
    this.#api = `/api/v1/endpoints/${encodeURIComponent(endpoint)}`;
    this.#path = path;
    this.#source = source;
    this.stepped = stepped;
    this.series = null;
    this.firstMs = 0; // of its oldest sample, once known
  }

  get loading() {
    return this.#loading !== null;
  }

  /** Whether what is in view has to be asked for: it lies beyond what is here, or is finer or coarser. */
  wanting(view) {
    const asked = this.#asked;
    if (!asked) return true;
    const [begin, end] = view.window();
    const span = end - begin;
    if (begin < asked.from || (end > asked.to && !asked.open)) return true;
    return span > 2 * asked.span || (span < asked.span / 2 && !asked.exact);
  }

  /** Takes a live sample; whether that changed anything. */
  add(sample) {
    this.#loading?.early.push(sample);
    return this.series?.add(sample.time_ms, this.#number(sample.value)) ?? false;
  }

  /** Lets go of a request that is under way. */
  abort() {
    this.#loading?.abort.abort();
    this.#loading = null;
  }

  /** Has it asked for anew when it is next in sight: something was missed. */
  forget() {
    this.#asked = null;
  }

  /**
   * Asks for what is in view and, where it does not move by itself, half as much before and after it, in at
   * most `points` buckets for what is seen. False when another request has overtaken this one.
   */
  async load(view, points) {
    this.abort();
    const loading = { abort: new AbortController(), early: [] };
    this.#loading = loading;
    const [begin, end] = view.window();
    const margin = view.fixed ? (end - begin) / 2 : 0;
    const now = Math.ceil(boxTime()) + 1;
    const from = Math.max(0, Math.floor(begin - margin));
    const open = end + margin >= now - 1000;
    const to = Math.max(from + 1, open ? now : Math.ceil(end + margin));
    const wanted = Math.min(MAX_POINTS, Math.ceil(points * (margin ? 2 : 1)));
    try {
      const [answer, held] = await this.#fetch(from, to, wanted, loading.abort.signal);
      if (loading !== this.#loading) return false;
      const series = new Series(this.stepped);
      series.load(answer, { open, held });
      this.firstMs = answer.first_ms ?? 0;
      this.#asked = { from, to, open, span: end - begin, exact: answer.count.every((count) => count === 1) };
      this.series = series;
      for (const sample of loading.early) series.add(sample.time_ms, this.#number(sample.value));
      this.#loading = null;
      return true;
    } catch (error) {
      if (loading !== this.#loading) return false;
      this.#loading = null;
      throw error;
    }
  }

  async #fetch(from, to, points, signal) {
    const past = `${this.#api}/history${this.#path}?order=desc`;
    if (this.#source === "history") {
      const { items } = await getJson(`${past}&from_ms=${from}&to_ms=${to}&limit=${MAX_SAMPLES}`, signal);
      return [asChart(items.reverse(), from, to), null];
    }
    const chart = getJson(`${this.#api}/series${this.#path}?from_ms=${from}&to_ms=${to}&points=${points}`, signal);
    if (!this.stepped || from === 0) return [await chart, null];
    const [answer, before] = await Promise.all([chart, getJson(`${past}&to_ms=${from}&limit=1`, signal)]);
    return [answer, before.items[0] ?? null];
  }

  #number(value) {
    return this.#source === "history" ? parseFloat(value) : value;
  }
}

/** Samples told as text in the form of the series API, each a bucket of its own. */
function asChart(samples, from, to) {
  const sound = samples.filter((sample) => Number.isFinite(parseFloat(sample.value)));
  const values = sound.map((sample) => parseFloat(sample.value));
  return {
    data_type: "float",
    from_ms: from,
    to_ms: to,
    step_ms: 1,
    time_ms: sound.map((sample) => sample.time_ms),
    min: [...values],
    mean: values,
    max: [...values],
    count: values.map(() => 1),
  };
}
