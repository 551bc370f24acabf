"""How units are written for people.

The registry and devices name units as SenML does (RFC 8428 12.1, RFC 8798), in ASCII, with words
such as `Cel` and `lat`. Only the units whose written form differs stand here.
"""

from collections.abc import Mapping
from typing import Final

_DISPLAY: Final[Mapping[str, str]] = {
    "Cel": "°C",
    "degC": "°C",
    "deg": "°",
    "lat": "°",
    "lon": "°",
    "/": "",
    "/100": "%",
    "/1000": "‰",
    "%RH": "% RH",
    "%EL": "%",
    "Ohm": "Ω",
    "ohm": "Ω",
    "m2": "m²",
    "m3": "m³",
    "m3/s": "m³/s",
    "m/s2": "m/s²",
    "g/m3": "g/m³",
    "kg/m3": "kg/m³",
    "mg/m3": "mg/m³",
    "ug/m3": "µg/m³",
    "cd/m2": "cd/m²",
    "W/m2": "W/m²",
    "kW/m2": "kW/m²",
    "us": "µs",
    "um": "µm",
    "uA": "µA",
    "uV": "µV",
    "uW": "µW",
    "uT": "µT",
    "uS/cm": "µS/cm",
    "KB": "kB",
}


def display_unit(units: str | None) -> str:
    """The form of a unit to show after a value: "" for None, as it is where no other is known."""
    return _DISPLAY.get(units, units) if units is not None else ""
