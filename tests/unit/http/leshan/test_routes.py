"""Which addresses there are, on which side, and that the document has them all."""

import re
from pathlib import Path

import pytest

from flownexus_appliance.http.leshan.routes import routes
from flownexus_appliance.http.leshan.sides import Side

DOCUMENT = Path(__file__).parents[4] / "docs/leshan-api.md"
SHARED = {
    "GET /security/clients",
    "PUT /security/clients",
    "DELETE /security/clients/{endpoint}",
    "GET /security/server",
    "GET /server/security",
    "GET /server/endpoint",
    "GET /event",
}
OF_SERVER = {"GET /clients", "GET /objectspecs/{endpoint}", "* /clients/{endpoint}"}
OF_BOOTSTRAP = {"GET /bootstrap", "POST /bootstrap/{endpoint}", "DELETE /bootstrap/{endpoint}"}


def addresses(side: Side) -> set[str]:
    """Methods and paths, without the tail that handlers read themselves and slashes at the end."""
    found = {(route.method, re.sub(r"\{rest:.*\}$", "", route.path)) for route in routes("", side)}
    # A client itself is looked at by its own address, which needs less than what is asked of it.
    return {f"{method} {path.rstrip('/')}" for method, path in found} - {"GET /clients/{endpoint}"}


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (Side.SERVER, SHARED | OF_SERVER),
        (Side.BOOTSTRAP, SHARED | OF_BOOTSTRAP),
        (Side.BOTH, SHARED | OF_SERVER | OF_BOOTSTRAP),
    ],
)
def test_each_side_has_its_own(side: Side, expected: set[str]) -> None:
    assert addresses(side) == expected


def test_every_address_is_described() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", document, re.MULTILINE))
    assert described == addresses(Side.BOTH) - {"* /clients/{endpoint}"}


def test_every_event_is_described() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    source = (DOCUMENT.parents[1] / "flownexus_appliance/http/leshan/messages.py").read_text(encoding="utf-8")
    told = set(re.findall(r'"([A-Z]{4,})"', source))
    assert told >= {"SEND", "COAPLOG", "BSSESSION", "AWAKE"}
    for name in told:
        assert f"`{name}`" in document, name
