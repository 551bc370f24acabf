"""Curves: the same for the same seed and moment, different for another, alive within minutes."""

from itertools import pairwise
from statistics import mean

import pytest

from flownexus_appliance.sim.signals import DAY_S, Battery, Curve, Track, noise, unit, wander

START = 1_750_000_000.0
ROOM = Curve(1, 21.0, daily=3.0, peak_s=54_000.0, wander_amplitude=0.7, noise=0.05)


def test_a_curve_is_a_function_of_seed_and_time() -> None:
    again = Curve(1, 21.0, daily=3.0, peak_s=54_000.0, wander_amplitude=0.7, noise=0.05)
    other = Curve(2, 21.0, daily=3.0, peak_s=54_000.0, wander_amplitude=0.7, noise=0.05)
    moments = [START + 5 * n for n in range(100)]
    assert [ROOM.at(t) for t in moments] == [again.at(t) for t in moments]
    assert [ROOM.at(t) for t in moments] != [other.at(t) for t in moments]


def test_a_chart_of_ten_minutes_is_alive() -> None:
    readings = [ROOM.at(START + 5 * n) for n in range(120)]
    assert max(readings) - min(readings) > 0.1
    assert len(set(readings)) > 20
    # A sensor does not jump: from sample to sample it stays within noise and a little drift.
    assert max(abs(b - a) for a, b in pairwise(readings)) < 0.3


def test_the_day_shows() -> None:
    midnight = START - START % DAY_S
    afternoon = mean(ROOM.at(midnight + 54_000 + 60 * n) for n in range(-30, 30))
    night = mean(ROOM.at(midnight + 54_000 - DAY_S / 2 + 60 * n) for n in range(-30, 30))
    assert 3.0 < afternoon - night < 9.0


def test_bounds_and_decimals_hold() -> None:
    wild = Curve(3, 50.0, noise=200.0, low=0.0, high=99.0, decimals=1)
    readings = [wild.at(START + n) for n in range(500)]
    assert min(readings) == 0.0
    assert max(readings) == 99.0
    assert all(round(value, 1) == value for value in readings)


def test_noise_and_wander_stay_within_one_and_are_not_lopsided() -> None:
    drawn = [noise(5, START + n) for n in range(2000)]
    walked = [wander(5, START + n, 30.0) for n in range(2000)]
    for values in (drawn, walked):
        assert all(-1.0 <= value <= 1.0 for value in values)
        assert abs(mean(values)) < 0.15
    assert all(0.0 <= unit(n, n) < 1.0 for n in range(100))


def test_a_walk_is_smooth() -> None:
    steps = [wander(9, START + n / 10, 30.0) for n in range(3000)]
    assert max(abs(b - a) for a, b in pairwise(steps)) < 0.02


def test_a_battery_empties_is_charged_and_shows_it_in_its_voltage() -> None:
    battery = Battery(4, discharge_s=2 * DAY_S, charge_s=3 * 3600.0)
    moments = [START + 600 * n for n in range(round(2.5 * DAY_S / 600))]
    levels = [battery.level(t) for t in moments]
    assert 8.0 <= min(levels) < 12.0
    assert 97.0 < max(levels) <= 100.0
    for before, after, moment in zip(levels, levels[1:], moments, strict=False):
        if battery.charging(moment) == battery.charging(moment + 600):
            assert (after > before) == battery.charging(moment)
    volts = [battery.voltage_mv(t) for t in moments]
    assert 3200 < min(volts) < 3450
    assert 4000 < max(volts) < 4300
    assert {battery.current_ma(t) > 300 for t in moments if battery.charging(t)} == {True}
    assert all(5 <= battery.current_ma(t) < 120 for t in moments if not battery.charging(t))


@pytest.mark.parametrize(("radius_m", "least_m", "most_m"), [(0.0, 0.5, 12.0), (400.0, 500.0, 900.0)])
def test_a_track_stays_where_it_belongs(radius_m: float, least_m: float, most_m: float) -> None:
    track = Track(6, 52.5, 13.4, radius_m)
    latitudes = [track.at(START + 10 * n)[0] for n in range(360)]
    spread_m = (max(latitudes) - min(latitudes)) * 111_320
    assert least_m < spread_m < most_m
    assert (track.speed(START) > 0) == bool(radius_m)
