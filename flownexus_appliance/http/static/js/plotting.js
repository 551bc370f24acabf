// What charts share: ticks of time and numbers, marks, colours for the canvas. No state in here.
import uPlot from "../vendor/uplot/uPlot.esm.js";
import { MONTHS, valueText } from "./format.js";
import { DECIMAL, _ } from "./language.js";

export const HOUR_S = 3600;
export const DAY_S = 24 * HOUR_S;
// Steps between ticks of whole numbers.
export const WHOLE_STEPS = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));
export const FONT_PX = 12;
const LETTER_PX = 6.8;
// On a phone the words of an axis leave room for the curve.
const NARROW_PX = 480;
const NARROW_LETTERS = 11;
// Ticks that tell seconds need more room.
const SECONDS_SPAN_S = 10 * 60;

const DAY_MONTH = _("%(day)s %(month)s", { day: "{D}", month: "{MMM}" });
// Tick spacing in s, form of the tick, form where the year, month, day changes (uPlot's axis values).
export const TIME_TICKS = [
  [365 * DAY_S, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * DAY_S, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [DAY_S, DAY_MONTH, "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", `\n${DAY_MONTH}`, null, `\n${DAY_MONTH}`, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", `\n${DAY_MONTH}`, null, `\n${DAY_MONTH}`, null, null, null, 1],
];

/** How uPlot writes times: with the names of months in the language of the page. */
export function dateForm(form) {
  return uPlot.fmtDate(form, { MMMM: MONTHS, MMM: MONTHS, WWWW: [], WWW: [] });
}

/** How far apart ticks of time stand at least, in pixels. */
export function timeSpace(_u, _axis, low, high) {
  return high - low <= SECONDS_SPAN_S ? 78 : 60;
}

/** The room at the right that half of the last tick's text needs, in pixels. */
export function timeRoom([begin, end]) {
  return end - begin <= SECONDS_SPAN_S * 1000 ? 30 : 20;
}

/** Numbers at ticks, with as many digits as tell one from the next. */
export function tickTexts(ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : 1;
  let decimals = 0;
  while (decimals < 6 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) decimals += 1;
  return ticks.map((tick) => tick.toFixed(decimals).replace("-", "\u2212").replace(".", DECIMAL));
}

/** The width an axis needs for its texts. */
export function axisSize(_u, texts) {
  return 14 + LETTER_PX * Math.max(3, ...(texts ?? []).map((text) => text.length));
}

/** A word at a tick, cut where the plot is narrow. */
export function axisWord(u, text) {
  return u.width >= NARROW_PX || text.length <= NARROW_LETTERS ? text : `${text.slice(0, NARROW_LETTERS - 1)}\u2026`;
}

/** The values of a state that get a tick: those there are, and the first two. */
export function stateSteps(labels, low, high) {
  if ("true" in labels) return [0, 1];
  return Object.keys(labels)
    .map(Number)
    .filter((step) => step >= Math.min(low, 0) && step <= Math.max(high, 1));
}

/** The word for a state's value. */
export function stateText(labels, value) {
  const key = "true" in labels ? String(value >= 0.5) : String(Math.round(value));
  return labels[key] ?? String(value);
}

/** A value of a line ({labels, kind, series}) as text, without its unit. */
export function lineText({ labels, kind, series }, value) {
  if (labels) return stateText(labels, value);
  const whole = series.dataType !== "float" && Number.isInteger(value);
  return valueText(value, kind, null, whole ? "integer" : "float");
}

/** The lowest and highest value an axis shows, with some room. */
export function valueSpan(lines, low, high) {
  if (low === null || high === null || low === undefined) return [0, 1];
  const { labels } = lines[0];
  if (labels) {
    const steps = stateSteps(labels, low, high);
    return [Math.min(low, steps[0]) - 0.3, Math.max(high, steps.at(-1)) + 0.3];
  }
  const least = lines.some((line) => line.series.dataType === "float") ? 0.5 : 1.5;
  const room = (high - low) * 0.12 || Math.max(Math.abs(high) * 0.02, least);
  const [bottom, top] = [low - room, high + room];
  // A quantity that is never negative does not get a floor below nothing.
  return [low >= 0 && bottom < 0 ? 0 : bottom, top];
}

/**
 * Where points are too many to be marked, those that stand alone between two gaps still are: what lies within
 * three pixels has no line to be seen by. `undefined` is a time of another series, and no gap.
 */
export function lonely(u, index, shown) {
  if (shown) return null;
  const times = u.data[0];
  const values = u.data[index];
  const marked = [];
  let [start, last] = [-1, -1];
  for (let at = 0; at <= values.length; at += 1) {
    if (at < values.length && values[at] === undefined) continue;
    if (at < values.length && values[at] !== null) {
      if (start < 0) start = at;
      last = at;
    } else if (start >= 0) {
      if (u.valToPos(times[last], "x") - u.valToPos(times[start], "x") < 3) marked.push(last);
      start = -1;
    }
  }
  return marked;
}

/** The index nearest to `at` where a series of joined columns has something to say, be it a gap. */
export function nearestTold(values, at) {
  for (let off = 0; off < values.length; off += 1) {
    if (values[at - off] !== undefined) return at - off;
    if (values[at + off] !== undefined) return at + off;
  }
  return at;
}

/** A colour of tokens.css with an opacity, for the canvas. */
export function translucent(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgb(${r} ${g} ${b} / ${opacity})`;
}
