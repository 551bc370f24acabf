"""The curves a simulated device measures: daily cycle, slow wander and noise.

Every value is a pure function of a seed and of wall-clock time, so a device tells the same story
however often it is asked, two devices never the same one, and a test needs no clock.
"""

import math
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400.0
_MASK: Final = (1 << 64) - 1


def mix(seed: int, number: int) -> int:
    """64 well-mixed bits of a seed and a number (the finaliser of SplitMix64)."""
    z = (seed + number * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def unit(seed: int, number: int) -> float:
    """A number from 0 to 1 (excluded), the same for the same seed and number."""
    return (mix(seed, number) >> 11) / (1 << 53)


def noise(seed: int, time_s: float) -> float:
    """Noise from -1 to 1 around 0, bell-shaped, new every millisecond."""
    bits = mix(seed, int(time_s * 1000))
    return ((bits & 0xFFFFF) + (bits >> 20 & 0xFFFFF) + (bits >> 40 & 0xFFFFF)) / 1.5 / 0xFFFFF - 1


def wander(seed: int, time_s: float, period_s: float) -> float:
    """A smooth walk from -1 to 1 that takes about `period_s` from one turn to the next."""
    place = time_s / period_s
    step = math.floor(place)
    part = place - step
    ease = part * part * (3 - 2 * part)
    before = unit(seed, step)
    return 2 * (before + (unit(seed, step + 1) - before) * ease) - 1


@dataclass(frozen=True, slots=True)
class Curve:
    """A measured quantity: a mean, a daily cycle that peaks at `peak_s` of the day, wander, noise.

    `wander_amplitude` is reached on a long and, at a third of it, on a short period, so that a
    chart of ten minutes lives as a chart of a week does.
    """

    seed: int
    mean: float
    daily: float = 0.0
    peak_s: float = 54_000.0
    wander_amplitude: float = 0.0
    wander_period_s: float = 900.0
    noise: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    decimals: int = 2

    def at(self, time_s: float) -> float:
        """The value at a wall-clock time (seconds since 1970 UTC), rounded as a sensor would."""
        value = self.mean
        if self.daily:
            value += self.daily * math.cos((time_s - self.peak_s) / DAY_S * math.tau)
        if self.wander_amplitude:
            slow = wander(self.seed, time_s, self.wander_period_s)
            quick = wander(self.seed + 1, time_s, self.wander_period_s / 12)
            value += self.wander_amplitude * (slow + quick / 3)
        if self.noise:
            value += self.noise * noise(self.seed + 2, time_s)
        return round(min(self.high, max(self.low, value)), self.decimals)


@dataclass(frozen=True, slots=True)
class Battery:
    """A lithium cell that empties over days and is charged in hours, again and again."""

    seed: int
    discharge_s: float
    charge_s: float
    empty_percent: float = 8.0

    def charging(self, time_s: float) -> bool:
        return self._place(time_s) >= self.discharge_s

    def level(self, time_s: float) -> float:
        """Charge in percent, 0 to 100."""
        place = self._place(time_s)
        span = 100.0 - self.empty_percent
        if place < self.discharge_s:
            return 100.0 - span * place / self.discharge_s
        return self.empty_percent + span * (place - self.discharge_s) / self.charge_s

    def voltage_mv(self, time_s: float) -> int:
        """Terminal voltage: steep at both ends, flat between, with the noise of the load."""
        share = self.level(time_s) / 100.0
        open_circuit = 3.35 + 0.55 * share + 0.30 * share**6 - 0.25 * math.exp(-12 * share)
        offset = 0.06 if self.charging(time_s) else -0.01
        load = 0.004 * noise(self.seed, time_s) + 0.003 * wander(self.seed + 1, time_s, 60.0)
        return round((open_circuit + offset + load) * 1000)

    def current_ma(self, time_s: float) -> int:
        """What flows: into the device while it lives on the cell, the charger's otherwise."""
        if self.charging(time_s):
            return round(420 + 15 * noise(self.seed + 2, time_s))
        # Mostly asleep; the radio asks for more now and then.
        burst = max(0.0, wander(self.seed + 3, time_s, 20.0)) ** 4
        return round(12 + 2 * noise(self.seed + 2, time_s) + 80 * burst)

    def _place(self, time_s: float) -> float:
        cycle = self.discharge_s + self.charge_s
        return (time_s + unit(self.seed, 0) * cycle) % cycle


@dataclass(frozen=True, slots=True)
class Track:
    """A position: at home with the jitter of a receiver, or on a round through the neighbourhood."""

    seed: int
    latitude: float
    longitude: float
    radius_m: float = 0.0
    lap_s: float = 1800.0

    def at(self, time_s: float) -> tuple[float, float]:
        """Latitude and longitude in degrees."""
        north_m = 1.5 * noise(self.seed, time_s) + 2 * wander(self.seed + 1, time_s, 300.0)
        east_m = 1.5 * noise(self.seed + 2, time_s) + 2 * wander(self.seed + 3, time_s, 300.0)
        if self.radius_m:
            angle = time_s / self.lap_s * math.tau
            north_m += self.radius_m * math.sin(angle)
            east_m += self.radius_m * math.sin(2 * angle) / 2
        metres_per_degree = 111_320.0
        latitude = self.latitude + north_m / metres_per_degree
        longitude = self.longitude + east_m / (
            metres_per_degree * max(0.05, math.cos(math.radians(latitude)))
        )
        return round(latitude, 6), round(longitude, 6)

    def speed(self, time_s: float) -> float:
        """Speed over ground in metres a second, as a receiver derives it."""
        if not self.radius_m:
            return 0.0
        angle = time_s / self.lap_s * math.tau
        rate = self.radius_m * math.tau / self.lap_s
        return round(rate * math.hypot(math.cos(angle), math.cos(2 * angle)), 2)
