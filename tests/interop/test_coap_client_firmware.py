"""libcoap's coap-client fetches firmware packages, block by block, over plain CoAP and over DTLS.

LwM2M Core 1.1.1 E.6 (Package URI); RFC 7959 2.4. The ticket is what a device was told, and its own.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from .coap_client import KEY, SECURE, CoapClient
from .daemon import Daemon
from .firmware_by_hand import FirmwareByHand, firmware_by_hand

BLOCK_SIZES = (16, 64, 256, 512, 1024)
# No multiple of any block size, and no bytes that repeat.
IMAGE = Random(6).randbytes(40 * 1024 + 7)
SHA256 = hashlib.sha256(IMAGE).hexdigest()


@pytest.fixture(scope="module")
def firmware(daemon: Daemon) -> int:
    """A package that the box has; its id."""
    added = daemon.request(
        "POST", "/api/v1/firmware?version=2.0.0&file_name=app.bin", IMAGE, "application/octet-stream"
    )
    assert added.status == 201, added
    assert (added.json["size"], added.json["sha256"]) == (len(IMAGE), SHA256)
    return int(added.json["id"])


def update(daemon: Daemon, endpoint: str, firmware: int, delivery: str) -> Any:
    return daemon.api(f"/endpoints/{endpoint}/updates", {"firmware": firmware, "delivery": delivery})


def state(daemon: Daemon, update_id: int) -> Any:
    return daemon.api(f"/updates/{update_id}")


@pytest.fixture
def plain(daemon: Daemon, firmware: int) -> Iterator[FirmwareByHand]:
    """A device over plain CoAP that was told of the package."""
    with firmware_by_hand(daemon, "fetch-plain") as device:
        asked = update(daemon, device.endpoint, firmware, "coap")
        yield device
        daemon.api(f"/updates/{asked['id']}", method="DELETE")


def fetched(client: CoapClient, path: str, block_size: int | None = None) -> tuple[str, bytes]:
    """Fetch a package; the code of the first answer, and the hash of what was written to a file."""
    file = client.folder / "package"
    file.unlink(missing_ok=True)
    reply = client.request("get", path, block_size=block_size, output=file)
    return reply.code, file.read_bytes() if file.exists() else b""


def test_over_plain_coap(daemon: Daemon, plain: FirmwareByHand, coap_client: CoapClient) -> None:
    path = plain.ticket("coap")
    for block_size in (None, *BLOCK_SIZES):
        code, data = fetched(coap_client, path, block_size)
        assert (code, hashlib.sha256(data).hexdigest()) == ("2.05", SHA256), block_size
    options = dict(coap_client.request("get", path, block_size=64).options)
    assert options["Block2"] == "0/M/64"
    assert options["Size2"] == str(len(IMAGE))
    assert options["ETag"] == f"0x{SHA256[:16]}"
    assert options["Content-Format"] == "application/octet-stream"
    (item,) = daemon.api(f"/updates?endpoint={plain.endpoint}")["items"]
    assert (item["state"], item["bytes"]) == ("DOWNLOADING", len(IMAGE))


@pytest.mark.parametrize("build", SECURE)
def test_over_dtls(daemon: Daemon, firmware: int, tmp_path: Path, build: str) -> None:
    endpoint = f"fetch-{build}"
    credential = daemon.give_psk(endpoint, KEY)
    with firmware_by_hand(daemon, endpoint, credential) as device:
        asked = update(daemon, endpoint, firmware, "coaps")
        path = device.ticket("coaps")
        client = CoapClient(daemon.coaps_uri, tmp_path, build, credential)
        for block_size in (None, *BLOCK_SIZES):
            code, data = fetched(client, path, block_size)
            assert (code, hashlib.sha256(data).hexdigest()) == ("2.05", SHA256), block_size
        found = state(daemon, asked["id"])
        assert (found["state"], found["bytes"]) == ("DOWNLOADING", len(IMAGE))

        stranger = CoapClient(daemon.coaps_uri, tmp_path, build, daemon.give_psk(f"{endpoint}-stranger", KEY))
        assert fetched(stranger, path) == ("4.03", b"")
        daemon.wait_logged("package refused", endpoint=endpoint)

        # When the update has ended, so has the fetching.
        daemon.api(f"/updates/{asked['id']}", method="DELETE")
        assert fetched(client, path) == ("4.04", b"")


@pytest.mark.parametrize(
    ("method", "path", "code"), [("get", "/fw/AAAAAAAAAAAA", "4.04"), ("put", "", "4.05")]
)
def test_what_is_not_served(
    plain: FirmwareByHand, coap_client: CoapClient, method: str, path: str, code: str
) -> None:
    assert coap_client.request(method, path or plain.ticket("coap"), payload=b"").code == code
