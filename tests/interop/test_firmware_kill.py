"""A daemon is killed in the middle of a campaign, which goes on, and of an upload, which leaves nothing."""

import http.client
import json
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest

from flownexus_appliance.lwm2m.firmware import DeliveryMethod
from flownexus_appliance.sim.package import make_package

from .daemon import LOOPBACK, Daemon, running
from .firmware import add
from .firmware_devices import Group
from .program import until
from .updates import campaign, devices, updates, wait_ended, wait_state

VERSION = "3.1.4"
# In blocks of 64 bytes: a thousand exchanges of each device, so that the middle of it can be met. Who fetches
# takes its time for each; who is given it is given it as fast as it answers.
IMAGE = make_package(VERSION, 64 * 1024)
BLOCK = 64
BLOCK_S = 0.01
KEY = "ffeeddccbbaa99887766554433221100"
ENDED_WITHIN_S = 170.0
# Long enough that a device says "Updating" for a while.
UPDATE_S = 4.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with running(tmp_path) as started:
        yield started


def under_way(daemon: Daemon, campaign_id: int, delivery: str) -> int:
    """How many have some of the package and not all of it; the file is seconds behind."""
    return sum(
        (update["state"], update["delivery"]) == ("DOWNLOADING", delivery)
        and 0 < update["bytes"] < len(IMAGE)
        for update in daemon.api(f"/updates?campaign={campaign_id}")["items"]
    )


def installing(daemon: Daemon, campaign_id: int) -> int:
    return sum(update.state == "UPDATING" for update in updates(daemon, campaign_id).values())


def test_a_campaign_goes_on(daemon: Daemon, tmp_path: Path) -> None:
    """Killed while packages are on their way, and again while devices install them.

    A device that fetches is only made to wait: its session, its registration and its download go on, from the
    block it was at. One that is given its package starts anew, for half a push is good for nothing. None is
    told twice to install what it has installed.
    """
    some = partial(Group, host=LOOPBACK, port=daemon.coaps_port, key=KEY, update_s=UPDATE_S)
    pull = some("pull", 12, block_size=BLOCK, block_s=BLOCK_S)
    push = some("push", 8, method=DeliveryMethod.PUSH, push_block_size=BLOCK)
    with devices(daemon, [pull, push], tmp_path) as started:
        begun = campaign(daemon, add(daemon, IMAGE, VERSION), started.names, at_once=20)
        until(
            lambda: under_way(daemon, begun, "coaps") >= 4 and under_way(daemon, begun, "push") >= 2,
            "some have a part of the package",
            60.0,
        )
        daemon.program.kill()
        daemon.start()
        assert not set(daemon.api(f"/campaigns/{begun}")["counts"]) & {"SUCCEEDED", "FAILED"}
        until(lambda: installing(daemon, begun) >= 3, "some install it", 120.0)
        daemon.program.kill()
        daemon.start()
        ended = wait_ended(daemon, begun, ENDED_WITHIN_S)
        assert {update.end for update in ended.values()} == {("SUCCEEDED", 1, "")}, ended
        assert {update.attempts for update in ended.values()} == {1}
        assert wait_state(daemon, begun, "DONE")["counts"] == {"SUCCEEDED": 20}
        standing = started.standing()
    whole = [len(IMAGE), sha256(IMAGE).hexdigest()]
    for name, device in standing["devices"].items():
        assert device == {"version": VERSION, "fetched": [whole], "installs": 1}, name
    # At the beginning, and as the new version; in between who fetches has another session for that.
    for group, handshakes in ((pull, 3), (push, 2)):
        told = standing["groups"][group.prefix]
        assert told["registrations"] == 2 * group.count, told
        assert told["handshakes"] == handshakes * group.count, told
        assert told["firmware_installed"] == group.count, told
    assert standing["groups"]["pull"]["firmware_begun"] == pull.count


def test_half_an_upload_leaves_nothing(daemon: Daemon) -> None:
    size = 20_000_000
    upload_to = http.client.HTTPSConnection(LOOPBACK, daemon.https_port, context=daemon.tls)
    upload_to.putrequest("POST", f"/api/v1/firmware?version={VERSION}&file_name=half.bin")
    for name, value in {**daemon.bearer, "Content-Type": "application/octet-stream"}.items():
        upload_to.putheader(name, value)
    upload_to.putheader("Content-Length", str(size))
    upload_to.endheaders(bytes(size // 2))
    folder = daemon.state / "firmware"
    until(lambda: sum(file.stat().st_size for file in folder.iterdir()) > size // 4, "a part of it is there")
    daemon.program.kill()
    upload_to.close()
    assert list(folder.iterdir())
    daemon.start()
    assert list(folder.iterdir()) == []
    assert daemon.api("/firmware")["items"] == []
    # And it can be uploaded now.
    kept = add(daemon, IMAGE, VERSION)
    assert [file.name for file in folder.iterdir()] == [sha256(IMAGE).hexdigest()]
    assert json.loads(daemon.request("GET", "/api/v1/firmware").text)["items"][0]["id"] == kept
