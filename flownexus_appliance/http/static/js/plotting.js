// What charts share: ticks of time and numbers, marks, colours for the canvas.
export const HOUR_S = 3600;
export const DAY_S = 24 * HOUR_S;
// Steps between ticks of whole numbers.
export const WHOLE_STEPS = [...Array(12).keys()].flatMap((power) => [1, 2, 5].map((step) => step * 10 ** power));

// Tick spacing in s, form of the tick, form where the year, month, day changes (uPlot's axis values).
export const TIME_TICKS = [
  [365 * DAY_S, "{YYYY}", null, null, null, null, null, null, 1],
  [28 * DAY_S, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [DAY_S, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

/** Numbers at ticks, with as many digits as tell one from the next. */
export function tickTexts(ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1] - ticks[0]) : 1;
  let decimals = 0;
  while (decimals < 6 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6) decimals += 1;
  return ticks.map((tick) => tick.toFixed(decimals).replace("-", "\u2212"));
}

/**
 * Where points are too many to be marked, those that stand alone between two gaps still are: what lies within
 * three pixels has no line to be seen by.
 */
export function lonely(u, index, shown) {
  if (shown) return null;
  const times = u.data[0];
  const values = u.data[index];
  const marked = [];
  let start = -1;
  for (let at = 0; at <= values.length; at += 1) {
    const there = values[at] !== null && values[at] !== undefined;
    if (there && start < 0) start = at;
    if (there || start < 0) continue;
    if (u.valToPos(times[at - 1], "x") - u.valToPos(times[start], "x") < 3) marked.push(at - 1);
    start = -1;
  }
  return marked;
}

/** A colour of tokens.css with an opacity, for the canvas. */
export function translucent(colour, opacity) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgb(${r} ${g} ${b} / ${opacity})`;
}
