"""Two hundred simulated devices, a lossy way to them, and an image of 256 KiB: each ends as it should.

The way is `relay.py`: it loses 5 % of the datagrams in either direction, lets others overtake some, and
brings a few so late that they were sent again meanwhile. What the daemon sends follows RFC 7252 4.8 to the
letter; the devices differ from it in their ACK_TIMEOUT alone, which is half a second and not two, so that a
run takes one minute and not five. Nothing here asserts a time: `benchmarks/firmware.py` measures.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.lwm2m.firmware import DeliveryMethod
from flownexus_appliance.sim.firmware_options import RESULTS, Outcome
from flownexus_appliance.sim.package import make_package

from .daemon import LOOPBACK, Daemon, running
from .firmware import add
from .firmware_devices import Group
from .program import until
from .relay import FRONT
from .updates import Devices, Update, campaign, devices, memory, relaying, wait_ended, wait_state

# As few minutes as the box takes for the wait for a device that never comes back.
SETTINGS = f'\n[firmware]\nhost = "{FRONT}"\ncomeback_minutes = 1\n'
VERSION = "2.0.0"
IMAGE = make_package(VERSION, 256 * 1024)
# A block of a push is repeated by the daemon, after two seconds and more: a smaller one has to do.
SMALL_VERSION = "2.0.1"
SMALL = make_package(SMALL_VERSION, 32 * 1024)
ACK_TIMEOUT_S = 0.5
KEY = "00112233445566778899aabbccddeeff"
MOST_MB = 120.0
# Three minutes would end a test, so these are what is left of a noisy machine's patience.
ENDED_WITHIN_S = 170.0
WAYS = (
    Outcome.NO_STORAGE,
    Outcome.NO_MEMORY,
    Outcome.CONNECTION_LOST,
    Outcome.INTEGRITY_FAILED,
    Outcome.UNSUPPORTED_PACKAGE,
    Outcome.INVALID_URI,
    Outcome.UPDATE_FAILED,
    Outcome.UNSUPPORTED_PROTOCOL,
    Outcome.REVERT,
    Outcome.GONE,
)
# A device that lost the connection is told again, three times in all.
TRIES = {Outcome.CONNECTION_LOST: 3}


@pytest.fixture
def behind(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that has devices fetch by way of the relay."""
    with running(tmp_path, SETTINGS) as started:
        yield started


def expected(outcome: Outcome) -> tuple[str, int | None, str]:
    """State, result and reason that an update of such a device ends with; a result of None is any."""
    if outcome is Outcome.SUCCESS:
        return "SUCCEEDED", 1, ""
    if outcome is Outcome.REVERT:
        return "REVERTED", None, "reverted"
    if outcome is Outcome.GONE:
        return "FAILED", None, "gone"
    return "FAILED", RESULTS[outcome].value, "result"


def check(group: Group, ended: Mapping[str, Update], standing: Any, version: str, image: bytes) -> None:
    """Each update of a group ended as its device does, and the device agrees."""
    wrong = []
    whole = [len(image), sha256(image).hexdigest()]
    for index, name in enumerate(group.names):
        outcome, update, device = group.outcome(index), ended[name], standing["devices"][name]
        state, result, reason = expected(outcome)
        right = (state, update.result if result is None else result, reason) == update.end
        tried = update.attempts == TRIES.get(outcome, 1)
        runs = version if outcome is Outcome.SUCCESS else group.version
        if not (right and tried and device["version"] == runs):
            wrong.append(f"{name} {outcome}: {update}, {device}")
        if outcome is Outcome.SUCCESS and device["fetched"] != [whole]:
            wrong.append(f"{name} fetched {device['fetched']}")
    assert not wrong, "\n".join(wrong)


def check_memory(daemon: Daemon) -> None:
    taken = memory(daemon.program.pid)
    assert max(taken.now_mb, taken.peak_mb) < MOST_MB, taken


def check_way(counts: Any, count: int) -> None:
    """The relay did what it is there for."""
    seen = counts["passed"] + counts["lost"]
    assert counts["devices"] >= count
    assert 0.045 < counts["lost"] / seen < 0.055
    assert counts["overtaken"] > 0
    assert counts["late"] > 0


def test_each_of_the_ten_ways_to_fail(behind: Daemon, tmp_path: Path) -> None:
    """Twenty devices in each of them, and none that succeeds."""
    fleet = Group(
        "way", 200, FRONT, behind.coaps_port, KEY, outcomes=tuple(map(str, WAYS)), ack_timeout_s=0.5
    )
    with relaying([behind.coap_port, behind.coaps_port], tmp_path) as relayed:
        with devices(behind, [fleet], tmp_path) as started:
            firmware = add(behind, IMAGE, VERSION)
            begun = campaign(behind, firmware, fleet.names, at_once=200, failure_limit=100)
            ended = wait_ended(behind, begun, ENDED_WITHIN_S)
            check(fleet, ended, started.standing(), VERSION, IMAGE)
            done = wait_state(behind, begun, "DONE")
            assert done["counts"] == {"FAILED": 180, "REVERTED": 20}
            check_memory(behind)
        check_way(relayed(), 200)


def test_a_tenth_fails_and_the_rest_succeeds(behind: Daemon, tmp_path: Path) -> None:
    """Two devices in each of the ten ways; the others run the new version, however it got to them."""
    mixed = tuple(str(word) for way in WAYS for word in (way, *[Outcome.SUCCESS] * 7))
    bad = partial(Group, host=FRONT, ack_timeout_s=ACK_TIMEOUT_S)
    coaps = bad("coaps", 160, port=behind.coaps_port, key=KEY, outcomes=mixed)
    coap = bad("coap", 20, port=behind.coap_port)
    push = bad("push", 20, port=behind.coaps_port, key=KEY, method=DeliveryMethod.PUSH)
    # These are no part of it: they report, and must not notice.
    beside = Group("beside", 50, LOOPBACK, behind.coap_port, version="", sample_period_s=1.0)
    with relaying([behind.coap_port, behind.coaps_port], tmp_path) as relayed:
        with (
            devices(behind, [coaps, coap, push], tmp_path) as started,
            devices(behind, [beside], tmp_path) as reporting,
        ):
            pulled = add(behind, IMAGE, VERSION)
            pushed = add(behind, SMALL, SMALL_VERSION)
            begin = partial(campaign, behind, at_once=200, failure_limit=100)
            first, second = begin(pulled, coaps.names + coap.names), begin(pushed, push.names)
            ended = wait_ended(behind, first, ENDED_WITHIN_S) | wait_ended(behind, second, ENDED_WITHIN_S)
            standing = started.standing()
            for group in (coaps, coap):
                check(group, ended, standing, VERSION, IMAGE)
            check(push, ended, standing, SMALL_VERSION, SMALL)
            assert wait_state(behind, first, "DONE")["counts"] == {
                "SUCCEEDED": 160,
                "FAILED": 18,
                "REVERTED": 2,
            }
            assert wait_state(behind, second, "DONE")["counts"] == {"SUCCEEDED": 20}
            check_deliveries(ended, {"coaps": 160, "coap": 20, "push": 20})
            check_versions(behind, ended, started)
            check_memory(behind)
            told = reporting.standing()["groups"]["beside"]
            assert told["notifications_acknowledged"] > 50
            assert told["timeouts"] == told["resets"] == 0
        check_way(relayed(), 200)


def check_deliveries(ended: Mapping[str, Update], wanted: Mapping[str, int]) -> None:
    """The box chose for each device what that can take."""
    assert Counter(update.delivery for update in ended.values()) == wanted
    assert all(update.delivery == name.partition("-")[0] for name, update in ended.items())


def check_versions(daemon: Daemon, ended: Mapping[str, Update], started: Devices) -> None:
    """What the box shows of the devices that succeeded is what they run now."""
    for name in started.names:
        if ended[name].state == "SUCCEEDED":
            wanted = SMALL_VERSION if name.startswith("push") else VERSION
            assert daemon.resources(name)["/3/0/3"]["value"] == wanted, name


def test_too_many_failures_pause_a_campaign(daemon: Daemon, tmp_path: Path) -> None:
    """Those that have begun end; the others wait, and go on when somebody says so."""
    outcomes = (str(Outcome.NO_STORAGE),) * 4 + (str(Outcome.SUCCESS),) * 8
    fleet = Group("limit", 12, LOOPBACK, daemon.coap_port, outcomes=outcomes)
    with devices(daemon, [fleet], tmp_path) as started:
        firmware = add(daemon, SMALL, SMALL_VERSION)
        begun = campaign(daemon, firmware, fleet.names, at_once=2, failure_limit=10)
        paused = wait_state(daemon, begun, "PAUSED", 60.0)
        assert paused["reason"] == "failures"
        assert paused["counts"]["WAITING"] >= 8
        assert paused["counts"].get("SUCCEEDED", 0) == 0

        def resumed_to_the_end() -> bool:
            """Each further failure is one too many as well: so often somebody has to say it."""
            state: str = daemon.api(f"/campaigns/{begun}")["state"]
            if state == "PAUSED":
                # Which may come too late, when the last of them has just ended.
                body = json.dumps({"state": "RUNNING"}).encode()
                assert daemon.request("PATCH", f"/api/v1/campaigns/{begun}", body).status in (200, 409)
            return state == "DONE"

        until(resumed_to_the_end, "the campaign is done", 60.0)
        daemon.wait_logged("campaign paused")
        check(fleet, wait_ended(daemon, begun, 60.0), started.standing(), SMALL_VERSION, SMALL)
