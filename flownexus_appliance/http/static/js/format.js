// How values and times are written: the same as http/wording.py does for the first view of a page.
import { DECIMAL, _ } from "./language.js";

const NARROW_SPACE = "\u202f";
const MINUS = "\u2212";
/** The months as they stand in a date. */
export const MONTHS = [
  _("Jan"), _("Feb"), _("Mar"), _("Apr"), _("May"), _("Jun"),
  _("Jul"), _("Aug"), _("Sep"), _("Oct"), _("Nov"), _("Dec"),
];

/** A value as text by its kind: number, degrees, labels, time or text. */
export function valueText(value, kind, labels, dataType) {
  if (kind === "labels") return labels?.[String(value)] ?? String(value);
  if ((kind === "number" || kind === "degrees") && typeof value === "number") {
    return numberText(value, kind === "degrees", dataType !== undefined && dataType !== "float");
  }
  if (kind === "time" && typeof value === "number") return momentText(value * 1000);
  return String(value);
}

/** A reading with as many digits as a person wants; `whole` for integers, shown in full. */
export function numberText(value, degrees = false, whole = false) {
  if (whole) return signed(grouped(String(value)));
  value += 0; // there is no minus zero for people
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e15)) {
    return signed(decimalText(value.toExponential(2).replace("e+", "e")));
  }
  let decimals = size >= 1 || size === 0 ? 2 : 3;
  if (degrees) decimals = 5;
  else if (size >= 10_000) decimals = 0;
  else if (size >= 100) decimals = 1;
  return signed(grouped(value.toFixed(decimals)));
}

/** A span in its largest whole unit. */
export function durationText(seconds) {
  if (seconds < 60) return `${Math.max(0, Math.floor(seconds))} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 48 * 3600) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} d`;
}

/** Bytes as a package counts them: 812 B, 256.0 KiB, 1.5 MiB. */
export function sizeText(size) {
  if (size < 1024) return `${size}\u00a0B`;
  if (size < 1024 * 1024) return `${decimalText((size / 1024).toFixed(1))}\u00a0KiB`;
  return `${decimalText((size / (1024 * 1024)).toFixed(1))}\u00a0MiB`;
}

export function agoText(thenMs, nowMs) {
  const seconds = (nowMs - thenMs) / 1000;
  return seconds < 2 ? _("just now") : _("%(span)s ago", { span: durationText(seconds) });
}

/** How long something lasts yet, as a clock counts down: 9:05. */
export function leftText(untilMs, nowMs) {
  const left = Math.max(0, Math.ceil((untilMs - nowMs) / 1000));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes, seconds] = [Math.floor(left / 3600), Math.floor(left / 60) % 60, left % 60];
  return hours ? `${hours}:${two(minutes)}:${two(seconds)}` : `${minutes}:${two(seconds)}`;
}

/** A moment in the browser's time zone. */
export function momentText(timeMs) {
  const moment = new Date(timeMs);
  if (Number.isNaN(moment.getTime())) return `${timeMs} ms`;
  const [day, month, year] = [moment.getDate(), MONTHS[moment.getMonth()], moment.getFullYear()];
  return _("%(day)s %(month)s %(year)s, %(time)s", { day, month, year, time: clockText(moment) });
}

/** Hours and minutes, with seconds where asked for. */
export function clockText(moment, withSeconds = false) {
  const parts = [moment.getHours(), moment.getMinutes()];
  if (withSeconds) parts.push(moment.getSeconds());
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

export function dayText(moment) {
  return _("%(day)s %(month)s", { day: moment.getDate(), month: MONTHS[moment.getMonth()] });
}

/** Digits as programs write them, with the decimal sign of the page's language. */
export function decimalText(digits) {
  return digits.replace(".", DECIMAL);
}

function grouped(digits) {
  const [whole, rest] = digits.split(".");
  const long = whole.replace("-", "").length > 4;
  const groups = long ? whole.replace(/\B(?=(\d{3})+$)/g, NARROW_SPACE) : whole;
  return rest === undefined ? groups : `${groups}${DECIMAL}${rest}`;
}

function signed(digits) {
  return digits.startsWith("-") ? MINUS + digits.slice(1) : digits;
}
