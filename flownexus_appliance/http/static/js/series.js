// The samples of one series: buckets as the box answered them, with live samples added. No DOM in here.

const MIN_STEP_MS = 1;
const COLUMNS = ["times", "min", "mean", "max", "count"];

export class Series {
  /** `stepped` for booleans and enumerations, which hold their value until the next sample. */
  constructor(stepped = false) {
    this.stepped = stepped;
    this.times = [];
    this.min = [];
    this.mean = [];
    this.max = [];
    this.count = [];
    this.dataType = "float";
    this.stepMs = MIN_STEP_MS;
    this.fromMs = 0;
    this.toMs = Infinity;
    this.gapMs = Infinity;
  }

  /**
   * Takes over an answer of the series API. `open`: it reached up to now, and what comes live goes on from
   * there. `held` is the sample before the answer's span ({time_ms, value}), which a state still holds at its
   * beginning.
   */
  load(chart, { open = true, held = null } = {}) {
    this.dataType = chart.data_type;
    this.times = chart.time_ms;
    this.min = chart.min;
    this.mean = chart.mean;
    this.max = chart.max;
    this.count = chart.count;
    this.stepMs = Math.max(MIN_STEP_MS, chart.step_ms);
    this.fromMs = chart.from_ms;
    this.toMs = open ? Infinity : chart.to_ms;
    this.#measureGap();
    if (!this.stepped || !held) return;
    this.times.unshift(held.time_ms);
    for (const column of [this.min, this.mean, this.max]) column.unshift(Number(held.value));
    this.count.unshift(0);
  }

  /** Adds a live sample into its bucket; one that is there already, or beyond the span, changes nothing. */
  add(timeMs, value) {
    if (typeof value === "boolean") value = Number(value);
    if (typeof value !== "number" || !Number.isFinite(value)) return false;
    if (timeMs < this.fromMs || timeMs >= this.toMs) return false;
    const bucket = this.#bucket(timeMs);
    let index = this.times.length;
    while (index > 0 && this.#bucket(this.times[index - 1]) > bucket) index -= 1;
    const there = index > 0 && this.#bucket(this.times[index - 1]) === bucket;
    if (there) {
      index -= 1;
      const same = this.times[index] === timeMs && this.mean[index] === value;
      if (same && this.count[index] === 1) return false;
      const count = this.count[index] + 1;
      this.mean[index] += (value - this.mean[index]) / count;
      this.min[index] = Math.min(this.min[index], value);
      this.max[index] = Math.max(this.max[index], value);
      this.count[index] = count;
    } else {
      this.times.splice(index, 0, timeMs);
      for (const column of [this.min, this.mean, this.max]) column.splice(index, 0, value);
      this.count.splice(index, 0, 1);
      if (this.times.length < 50) this.#measureGap();
    }
    return true;
  }

  /** Whether any bucket stands for more than one sample, so that a band says something. */
  get banded() {
    return !this.stepped && this.count.some((count) => count > 1);
  }

  /** Forgets what lies before `beginMs`, but for the state that still holds there. */
  trim(beginMs) {
    let old = 0;
    while (old < this.times.length && this.times[old] < beginMs) old += 1;
    if (this.stepped && old > 0) old -= 1;
    if (old) for (const name of COLUMNS) this[name].splice(0, old);
  }

  /**
   * The columns for uPlot: times in seconds, mean, max, min; null where there is a gap. A state is carried on
   * to both ends of [beginMs, endMs].
   */
  columns(beginMs, endMs) {
    const columns = [[], [], [], []];
    const push = (time, mean, high, low) => [time / 1000, mean, high, low].forEach((one, at) => columns[at].push(one));
    const hold = (time, i) => push(time, this.mean[i], this.max[i], this.min[i]);
    const last = this.times.length - 1;
    for (let i = 0; i <= last; i += 1) {
      const [before, time] = [this.times[i - 1], this.times[i]];
      if (this.stepped && i > 0 && before < beginMs && time > beginMs) hold(beginMs, i - 1);
      if (!this.stepped && time - before > this.gapMs) push(before + 1, null, null, null);
      hold(time, i);
    }
    if (this.stepped && last >= 0 && endMs > this.times[last]) {
      if (this.times[last] < beginMs) hold(beginMs, last);
      hold(endMs, last);
    }
    return columns;
  }

  /** Whether there is nothing to see between two moments. */
  empty(beginMs = -Infinity, endMs = Infinity) {
    const [first, end] = this.#within(beginMs, endMs);
    return first >= end;
  }

  /** Least, mean and greatest of what is seen between two moments, and the number of samples. */
  summary(beginMs = -Infinity, endMs = Infinity) {
    let [low, high, sum, count] = [Infinity, -Infinity, 0, 0];
    const [first, end] = this.#within(beginMs, endMs);
    for (let i = first; i < end; i += 1) {
      low = Math.min(low, this.min[i]);
      high = Math.max(high, this.max[i]);
      if (this.times[i] < beginMs) continue; // a state from before: it is seen, and no sample of this span
      sum += this.mean[i] * this.count[i];
      count += this.count[i];
    }
    return { low, high, mean: sum / count, count };
  }

  /** The index of the bucket nearest to a moment, of states the one that held then; -1 when there is none. */
  nearest(timeMs) {
    const next = this.#after(timeMs);
    if (this.stepped || next === this.times.length) return next - 1;
    if (next === 0) return 0;
    return timeMs - this.times[next - 1] <= this.times[next] - timeMs ? next - 1 : next;
  }

  /** The indices [first, end) of what is seen between two moments. */
  #within(beginMs, endMs) {
    const first = this.#after(beginMs - 1);
    return [this.stepped ? Math.max(0, first - 1) : first, this.#after(endMs)];
  }

  /** How many buckets are not after a moment. */
  #after(timeMs) {
    let [low, high] = [0, this.times.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.times[middle] <= timeMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #bucket(timeMs) {
    return Math.floor((timeMs - this.fromMs) / this.stepMs);
  }

  /** A pause far longer than the device's habit is a gap; its habit is the median of its pauses. */
  #measureGap() {
    const pauses = [];
    for (let i = 1; i < this.times.length; i += 1) pauses.push(this.times[i] - this.times[i - 1]);
    if (pauses.length < 3) {
      this.gapMs = Infinity;
      return;
    }
    pauses.sort((a, b) => a - b);
    this.gapMs = Math.max(5 * pauses[pauses.length >> 1], 3 * this.stepMs);
  }
}
