// The samples of one chart: buckets as the box answered them, with live samples added. No DOM in here.

const MIN_STEP_MS = 1;

export class Series {
  /** `stepped` for booleans and enumerations, which hold their value until the next sample. */
  constructor(rangeMs, stepped) {
    this.rangeMs = rangeMs;
    this.stepped = stepped;
    this.times = [];
    this.min = [];
    this.mean = [];
    this.max = [];
    this.count = [];
    this.dataType = "float";
    this.stepMs = MIN_STEP_MS;
    this.originMs = 0;
    this.gapMs = Infinity;
  }

  /** Takes over an answer of the series API. */
  load(chart) {
    this.dataType = chart.data_type;
    this.times = chart.time_ms;
    this.min = chart.min;
    this.mean = chart.mean;
    this.max = chart.max;
    this.count = chart.count;
    this.stepMs = Math.max(MIN_STEP_MS, chart.step_ms);
    this.originMs = chart.from_ms;
    this.#measureGap();
  }

  get empty() {
    return this.times.length === 0;
  }

  /** Adds a live sample into its bucket; one that is there already changes nothing. */
  add(timeMs, value) {
    if (typeof value === "boolean") value = Number(value);
    if (typeof value !== "number" || !Number.isFinite(value)) return false;
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
    return this.count.some((count) => count > 1);
  }

  /**
   * The columns for uPlot up to `nowMs`: times in seconds, mean, max, min; null where there is a gap.
   */
  columns(nowMs) {
    this.#trim(nowMs);
    const times = [];
    const [mean, max, min] = [[], [], []];
    const push = (time, m, high, low) => {
      times.push(time / 1000);
      mean.push(m);
      max.push(high);
      min.push(low);
    };
    for (let i = 0; i < this.times.length; i += 1) {
      if (i > 0 && !this.stepped && this.times[i] - this.times[i - 1] > this.gapMs) {
        push(this.times[i - 1] + 1, null, null, null);
      }
      push(this.times[i], this.mean[i], this.max[i], this.min[i]);
    }
    const last = this.times.length - 1;
    if (this.stepped && last >= 0 && nowMs > this.times[last]) {
      push(nowMs, this.mean[last], this.max[last], this.min[last]);
    }
    return [times, mean, max, min];
  }

  /** Least, mean and greatest of what is shown. */
  summary() {
    let [low, high, sum, count] = [Infinity, -Infinity, 0, 0];
    for (let i = 0; i < this.times.length; i += 1) {
      low = Math.min(low, this.min[i]);
      high = Math.max(high, this.max[i]);
      sum += this.mean[i] * this.count[i];
      count += this.count[i];
    }
    return { low, high, mean: sum / count, count };
  }

  /** The index of the bucket nearest to a moment, -1 when there is none. */
  nearest(timeMs) {
    let best = -1;
    for (let i = 0; i < this.times.length; i += 1) {
      if (best < 0 || Math.abs(this.times[i] - timeMs) < Math.abs(this.times[best] - timeMs)) best = i;
    }
    return best;
  }

  #bucket(timeMs) {
    return Math.floor((timeMs - this.originMs) / this.stepMs);
  }

  #trim(nowMs) {
    const begin = nowMs - this.rangeMs;
    let old = 0;
    while (old < this.times.length && this.times[old] < begin) old += 1;
    // A state that was set before the window still holds at its left edge.
    if (this.stepped && old > 0) old -= 1;
    if (old) for (const column of [this.times, this.min, this.mean, this.max, this.count]) column.splice(0, old);
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
