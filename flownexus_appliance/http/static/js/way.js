// Where a device was: latitudes and longitudes as one way, on a plane about its middle. No DOM in here.

const EARTH_M = 6_371_008.8; // mean radius, IUGG
const RAD = Math.PI / 180;
// Coordinates that are told one after the other are of one place.
const TOGETHER_MS = 30_000;
// What satellites leave open under a free sky.
const NOISE_M = 10;

/** The places that two series tell: [{timeMs, latitude, longitude, gap: whether a pause lies before it}]. */
export function places(latitudes, longitudes, beginMs, endMs) {
  const found = [];
  const near = Math.max(TOGETHER_MS, latitudes.stepMs);
  let gap = false;
  for (const [at, timeMs] of latitudes.times.entries()) {
    gap ||= at > 0 && timeMs - latitudes.times[at - 1] > latitudes.gapMs;
    if (timeMs < beginMs || timeMs > endMs) continue;
    const beside = longitudes.nearest(timeMs);
    if (beside < 0 || Math.abs(longitudes.times[beside] - timeMs) > near) continue;
    const [latitude, longitude] = [latitudes.mean[at], longitudes.mean[beside]];
    if (!(Math.abs(latitude) <= 90 && Math.abs(longitude) <= 180)) continue;
    found.push({ timeMs, latitude, longitude, gap: gap && found.length > 0 });
    gap = false;
  }
  return found;
}

/**
 * Metres east and north of the middle, one {x, y} each place: equal distances along the middle's meridian and
 * parallel, which is right to the eye for as far as a device gets. A way over the 180th meridian is one way.
 */
export function projected(way) {
  if (!way.length) return [];
  const turned = way.map(({ longitude }) => ((longitude - way[0].longitude + 540) % 360) - 180);
  const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
  const [latitude, longitude] = [middle(way.map((one) => one.latitude)), middle(turned)];
  const across = EARTH_M * RAD * Math.cos(latitude * RAD);
  return way.map((one, at) => ({
    x: (turned[at] - longitude) * across,
    y: (one.latitude - latitude) * RAD * EARTH_M,
  }));
}

/** The length of a way in metres. What a device that stands still wanders about its place is none. */
export function lengthOf(points) {
  let [sum, last] = [0, points[0]];
  for (const point of points) {
    const step = Math.hypot(point.x - last.x, point.y - last.y);
    if (step < NOISE_M) continue;
    sum += step;
    last = point;
  }
  return sum;
}

/** The longest round length (1, 2, 5, 10 ...) of metres that is not longer than `most`. */
export function roundLength(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [5, 2, 1].map((step) => step * power).find((length) => length <= most);
}

/** A length as it is written: 200 m, 1.5 km. */
export function lengthText(metres, decimalText) {
  if (metres > 0 && metres < 1) return `${Math.round(metres * 100)} cm`;
  if (metres < 1000) return `${Math.round(metres)} m`;
  const kilometres = metres / 1000;
  const digits = kilometres < 100 && !Number.isInteger(kilometres) ? kilometres.toFixed(1) : kilometres.toFixed(0);
  return `${decimalText(digits)} km`;
}
