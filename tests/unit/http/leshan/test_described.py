"""docs/leshan-api.md keeps up with the routes, the formats and the types."""

import re
from pathlib import Path

from flownexus_appliance.http.leshan.asking import FORMATS
from flownexus_appliance.http.leshan.clients import serve_client
from flownexus_appliance.http.leshan.routes import routes
from flownexus_appliance.http.leshan.values import TYPES
from flownexus_appliance.lwm2m.values import DataType

from .conftest import BASE

DOCUMENT = (Path(__file__).parents[4] / "docs/leshan-api.md").read_text(encoding="utf-8")


def test_every_route_is_described() -> None:
    served = {
        f"{route.method} {re.sub(':[^}]+|{rest.*', '', route.path.removeprefix(BASE)).rstrip('/')}"
        for route in routes(BASE)
        if route.handler is not serve_client
    }
    described = set(re.findall(r"^\| `([A-Z]+ /[^`]*)` \|", DOCUMENT, re.MULTILINE))
    assert described == served


def test_every_format_and_type_is_described() -> None:
    assert f"`{' '.join(FORMATS)}`" in DOCUMENT
    for data_type, name in TYPES.items():
        assert data_type is DataType.NONE or f"`{name}`" in DOCUMENT
