"""Units as people write them."""

import pytest

from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.lwm2m.units import display_unit


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        (None, ""),
        ("", ""),
        ("Cel", "°C"),
        ("deg", "°"),
        ("lat", "°"),
        ("lon", "°"),
        ("/100", "%"),
        ("%", "%"),
        ("%RH", "% RH"),
        ("%EL", "%"),
        ("m3", "m³"),
        ("m3/s", "m³/s"),
        ("ug/m3", "µg/m³"),
        ("KB", "kB"),
        ("C", "C"),  # the coulomb
        ("K", "K"),
        ("dBm", "dBm"),
        ("furlong", "furlong"),
    ],
)
def test_display_unit(units: str | None, shown: str) -> None:
    assert display_unit(units) == shown


def test_every_unit_of_the_registry_has_a_form_without_ascii_powers() -> None:
    models = load_registry()
    found = {
        resource.units
        for object_id, _ in models.names()
        for version in models.versions(object_id)
        if (definition := models.object(object_id, version)) is not None
        for resource in definition.resources.values()
        if resource.units is not None
    }
    assert len(found) > 50
    assert {units: display_unit(units) for units in found if display_unit(units)[-1:] in "23"} == {}
    assert [units for units in found if display_unit(units) == ""] == []
