"""What the composition root works out by itself."""

from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any

import pytest

from flownexus_appliance import app
from flownexus_appliance.http.ports import PlainCoap
from flownexus_appliance.system.config import CoapConfig, Config


@pytest.mark.parametrize(
    ("networks", "port", "expected"),
    [
        (("127.0.0.0/8", "::1/128"), 5683, None),
        ((), 5683, None),
        (("127.0.0.0/8", "192.168.1.0/24"), 5683, PlainCoap(5683, ("192.168.1.0/24",))),
        (("0.0.0.0/0", "fd00::/8"), 9000, PlainCoap(9000, ("0.0.0.0/0", "fd00::/8"))),
        (("192.168.1.0/24",), 0, None),
    ],
)
def test_what_of_plain_coap_is_open_to_others(
    networks: tuple[str, ...], port: int, expected: PlainCoap | None
) -> None:
    config = Config(coap=CoapConfig(networks=tuple(map(ip_network, networks))))
    coap: Any = SimpleNamespace(port=port)
    assert app._plain(config, coap) == expected
