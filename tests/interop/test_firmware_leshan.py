"""Firmware for Leshan's client: it takes what the box writes to /5/0/0 by Block1, and fetches what it is told
to by Californium's Block2.

Leshan has the model of object 5 and nothing that does it, so the object is ours (`leshan/src/Firmware.java`);
all that goes over the wire is Leshan's and Californium's doing. Files are compared by their hashes.
"""

from hashlib import sha256
from typing import Any

import pytest

from flownexus_appliance.lwm2m.firmware import DeliveryMethod
from flownexus_appliance.sim.package import make_package

from .daemon import Daemon
from .firmware import add
from .leshan_client import Account, LeshanClient, StartLeshan
from .program import until
from .updates import ENDED

OLD = "1.0.0"
MAX_BODY = 1 << 20
ENDED_WITHIN_S = 90.0


def image(version: str) -> bytes:
    return make_package(version, 100_000)


def update(daemon: Daemon, endpoint: str, firmware: int, **more: object) -> int:
    """Give a device a firmware; the id of the update."""
    begun = daemon.api(f"/endpoints/{endpoint}/updates", {"firmware": firmware, **more})
    return int(begun["id"])


def wait_ended(daemon: Daemon, number: int) -> Any:
    until(lambda: daemon.api(f"/updates/{number}")["state"] in ENDED, "the update has ended", ENDED_WITHIN_S)
    return daemon.api(f"/updates/{number}")


def account(daemon: Daemon, endpoint: str, security: str, **more: Any) -> Account:
    if security == "psk":
        return Account(daemon.coaps_uri, daemon.give_psk(endpoint), 6, firmware=OLD, **more)
    return Account(daemon.coap_uri, firmware=OLD, **more)


@pytest.mark.parametrize(
    ("delivery", "security", "version"),
    [
        ("push", "nosec", "2.0.1"),
        ("push", "psk", "2.0.2"),
        ("coap", "nosec", "2.0.3"),
        ("coaps", "psk", "2.0.4"),
    ],
)
def test_it_gets_what_was_uploaded_and_runs_it(
    daemon: Daemon, start_leshan: StartLeshan, delivery: str, security: str, version: str
) -> None:
    """Confirmed by what the device says after its reboot: result and version, both."""
    endpoint = f"leshan-{delivery}-{security}"
    method = DeliveryMethod.PUSH if delivery == "push" else DeliveryMethod.BOTH
    client = start_leshan(endpoint, account(daemon, endpoint, security, delivery=method, max_body=MAX_BODY))
    content = image(version)
    number = update(daemon, endpoint, add(daemon, content, version))
    assert client.package() == (len(content), sha256(content).hexdigest())
    client.installs()
    client.wait_registered()
    ended = wait_ended(daemon, number)
    assert (ended["state"], ended["result"], ended["reason"]) == ("SUCCEEDED", 1, "")
    assert (ended["bytes"], ended["attempts"]) == (len(content), 1)
    assert ended["delivery"] == delivery
    assert daemon.resources(endpoint)["/3/0/3"]["value"] == version
    # The Execute came once, and so did the package.
    words = [line.split(" ")[0] for line in client.program.log]
    assert (words.count("PACKAGE"), words.count("INSTALL")) == (1, 1)
    assert not client.complaints()
    client.stop()


def test_what_it_cannot_use_fails_by_its_own_word(daemon: Daemon, start_leshan: StartLeshan) -> None:
    endpoint = "leshan-unsupported"
    client = start_leshan(
        endpoint, account(daemon, endpoint, "nosec", delivery=DeliveryMethod.PUSH, max_body=MAX_BODY)
    )
    content = b"no image at all " * 1000
    ended = wait_ended(daemon, update(daemon, endpoint, add(daemon, content, "9.9.9")))
    assert client.package() == (len(content), sha256(content).hexdigest())
    assert (ended["state"], ended["result"], ended["reason"]) == ("FAILED", 6, "result")
    assert runs(client) == []


def test_what_is_too_large_for_it_is_refused(daemon: Daemon, start_leshan: StartLeshan) -> None:
    """4.13 with Size1, at the first block: Californium takes no body of more than 8192 bytes by default."""
    endpoint = "leshan-too-large"
    client = start_leshan(endpoint, account(daemon, endpoint, "nosec", delivery=DeliveryMethod.PUSH))
    ended = wait_ended(daemon, update(daemon, endpoint, add(daemon, image("2.0.9"), "2.0.9")))
    assert (ended["state"], ended["reason"]) == ("FAILED", "refused")
    assert ended["detail"].startswith("4.13")
    assert runs(client) == []
    # It is none the worse for it.
    assert daemon.operate(endpoint, "read", "/5/0/3").values == {"/5/0/3": 0}
    client.stop()


def runs(client: LeshanClient) -> list[str]:
    """What it has said of installing anything."""
    return [line for line in client.program.log if line.startswith("INSTALL")]
