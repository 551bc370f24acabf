"""Firmware for devices that ask for small records (RFC 6066 4), as Zephyr does: OpenSSL's own client.

LwM2M Core 1.1.1 E.6; RFC 7959 2.4 (the server may answer with smaller blocks).
"""

import itertools
from pathlib import Path
from random import Random

import pytest

from tests.peer import BLOCK2, CON, CONTENT, CONTENT_FORMAT, ETAG, GET, SIZE2, Block, Frame, options, uint

from . import hand
from .daemon import Daemon
from .firmware_by_hand import firmware_by_hand

IMAGE = Random(66).randbytes(5000)
SUITE = "PSK-AES128-CCM8"
_mids = itertools.count(0x6601)


@pytest.mark.parametrize(("record", "szx"), [(512, 4), (1024, 5), (4096, 6)])
def test_blocks_fit_into_the_records_that_a_client_takes(
    daemon: Daemon, tmp_path: Path, record: int, szx: int
) -> None:
    endpoint = f"records-of-{record}"
    credential = daemon.give_psk(endpoint)
    added = daemon.request(
        "POST", f"/api/v1/firmware?version={record}.0", IMAGE + bytes([szx]), "application/octet-stream"
    )
    assert added.status == 201, added
    small = ["-maxfraglen", str(record)]
    with (
        firmware_by_hand(daemon, endpoint, credential) as device,
        hand.openssl(daemon.coaps_port, credential, SUITE, tmp_path, small) as client,
    ):
        order = {"firmware": added.json["id"], "delivery": "coaps"}
        asked = daemon.api(f"/endpoints/{endpoint}/updates", order)
        request = Frame(
            CON, GET, next(_mids), b"fw", options(device.ticket("coaps"), block2=Block(0, False, 6))
        )
        client.send(request)
        answer = (
            (ETAG, bytes.fromhex(added.json["sha256"])[:8]),
            (CONTENT_FORMAT, b"\x2a"),
            (BLOCK2, Block(0, True, szx).encode()),
            (SIZE2, uint(len(IMAGE) + 1)),
        )
        client.wait_for(Frame(2, CONTENT, request.mid, request.token, answer, IMAGE[: 16 << szx]))
        daemon.api(f"/updates/{asked['id']}", method="DELETE")
