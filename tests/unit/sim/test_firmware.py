"""Firmware Update on a device: its states and results, installing, and every way it can end."""

from dataclasses import replace

import pytest

from flownexus_appliance.lwm2m.firmware import DeliveryMethod, DeviceState, Protocol, UpdateResult
from flownexus_appliance.sim.component import TURNS, Turn
from flownexus_appliance.sim.firmware_options import AS_SOLD, FirmwareOptions, Outcome
from flownexus_appliance.sim.lifecycle import State
from flownexus_appliance.sim.messages import Code, Message
from flownexus_appliance.sim.options import SimOptions
from flownexus_appliance.sim.package import make_package

from .firmware_peer import CALM, PACKAGE, URI, FirmwarePeer, updatable, with_outcome

IDLE, DOWNLOADING, DOWNLOADED, UPDATING = DeviceState
INITIAL, SUCCESS = UpdateResult.INITIAL, UpdateResult.SUCCESS
MODEM = make_package("3.1.4+5", 1000)


def paths(messages: list[Message]) -> list[tuple[str, ...]]:
    return [message.path for message in messages if message.is_request]


def downloaded(outcome: Outcome = Outcome.SUCCESS, **options: object) -> FirmwarePeer:
    """A device that has fetched a package."""
    firmware = replace(AS_SOLD, outcome={0: outcome}, **options)  # type: ignore[arg-type]
    peer = updatable(firmware)
    peer.offer()
    assert peer.standing() == (DOWNLOADED, INITIAL)
    return peer


# What a device tells of itself


def test_a_device_tells_how_it_can_be_updated() -> None:
    peer = updatable()
    told = peer.read(peer.get("/5/0"), "/5/0")
    assert told == {
        "/5/0/1": "",
        "/5/0/3": 0,
        "/5/0/5": 0,
        "/5/0/6": "",
        "/5/0/7": "",
        "/5/0/8/0": Protocol.COAP,
        "/5/0/9": DeliveryMethod.BOTH,
    }
    assert peer.text("/3/0/3") == "1.0.0"
    assert peer.get("/5/0/0").code == Code.METHOD_NOT_ALLOWED  # Package is write only


def test_protocols_and_method_are_as_they_were_wished() -> None:
    firmware = FirmwareOptions(
        version="7.7", pull=(Protocol.COAPS, Protocol.HTTPS), method=DeliveryMethod.PULL
    )
    peer = updatable(firmware)
    told = peer.read(peer.get("/5/0"), "/5/0")
    assert (told["/5/0/8/0"], told["/5/0/8/1"], told["/5/0/9"]) == (1, 3, 0)
    assert peer.text("/3/0/3") == "7.7"
    pushed = updatable(FirmwareOptions(method=DeliveryMethod.PUSH))
    told = pushed.read(pushed.get("/5/0"), "/5/0")
    assert told["/5/0/9"] == 1
    assert not any(path.startswith("/5/0/8/") for path in told)


def test_a_device_may_have_no_firmware_object() -> None:
    peer = updatable(FirmwareOptions(objects=()))
    assert peer.get("/5/0").code == Code.NOT_FOUND
    assert peer.update() == Code.NOT_FOUND
    peer.device.profile.factory_reset()


# Well


def test_a_package_is_fetched_installed_and_runs() -> None:
    peer = updatable()
    peer.observe("/5/0/3", b"state")
    peer.observe("/5/0/5", b"result")
    peer.offer()
    assert peer.standing() == (DOWNLOADED, INITIAL)
    assert (peer.text("/5/0/7"), peer.text("/5/0/6")) == ("2.0.0", "mcuboot")
    assert peer.device.firmware.fetched[0][0] == len(PACKAGE)
    tokens = [message.token for message in peer.take()]
    assert b"state" in tokens
    assert peer.update() == Code.CHANGED
    assert peer.standing() == (UPDATING, INITIAL)
    peer.take()
    peer.advance(2.9)
    assert peer.standing() == (UPDATING, INITIAL)
    peer.advance(0.2)
    assert peer.is_in(State.OFF)
    assert peer.take() == []  # not a word, no Deregister
    peer.advance(1.5)
    assert paths(peer.take()) == [("rd",)]
    assert peer.moves == 1  # from a new port, as Anjay
    assert peer.standing() == (IDLE, SUCCESS)
    assert peer.text("/3/0/3") == peer.device.firmware.version == "2.0.0"
    assert peer.text("/5/0/7") == ""
    peer.advance(60.0)
    assert peer.take() == []  # the observations are gone
    assert peer.statistics.firmware_installed == 1


def test_an_update_may_begin_again_after_another() -> None:
    peer = downloaded()
    peer.update()
    peer.advance(5.0)
    peer.depot.package = make_package("2.1.0", 3000)
    peer.offer()
    assert peer.standing() == (DOWNLOADED, INITIAL)  # the result of the last one is gone
    peer.update()
    peer.advance(5.0)
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, SUCCESS), "2.1.0")


def test_the_result_is_gone_when_a_download_begins() -> None:
    peer = with_outcome(Outcome.FLAKY)
    peer.offer()
    assert peer.standing() == (IDLE, UpdateResult.CONNECTION_LOST)
    peer.depot.lose = set(range(100))
    peer.offer()
    assert peer.standing() == (DOWNLOADING, INITIAL)


def test_each_state_is_told_to_who_observes_it() -> None:
    peer = updatable()
    peer.observe("/5/0/3", b"state")
    told = []
    peer.depot.lose = {1}
    peer.offer()
    told += [peer.read(m, "/5/0/3")["/5/0/3"] for m in peer.take() if m.token == b"state"]
    peer.advance(5.0)
    peer.update()
    told += [peer.read(m, "/5/0/3")["/5/0/3"] for m in peer.take() if m.token == b"state"]
    assert told == [DOWNLOADING, DOWNLOADED, UPDATING]


def test_a_device_may_come_back_from_the_same_port() -> None:
    peer = downloaded(new_port=False, boot_s=4.0)
    peer.update()
    peer.advance(6.9)
    assert peer.is_in(State.OFF)
    peer.advance(0.2)
    assert (peer.moves, peer.standing()) == (0, (IDLE, SUCCESS))


def test_a_sleeping_device_wakes_to_tell() -> None:
    options = replace(CALM, queue_mode=True, awake_s=5.0, wake_period_s=3600.0)
    peer = updatable(options=options)
    peer.observe("/5/0/3", b"state")
    peer.depot.lose = {3, 4, 5}  # 14 s without an answer at the least
    peer.offer()
    peer.advance(6.0)
    assert peer.is_in(State.SLEEPING)
    peer.take()
    peer.advance(30.0)
    heard = peer.take()
    assert [m.code for m in heard if m.is_request] == [Code.POST]  # the Update
    assert [peer.read(m, "/5/0/3") for m in heard if m.token == b"state"] == [{"/5/0/3": DOWNLOADED}]


# Refused


def test_nothing_is_installed_that_is_not_there() -> None:
    peer = updatable()
    assert peer.update() == Code.METHOD_NOT_ALLOWED
    peer.depot.lose = set(range(100))
    peer.offer()
    assert peer.update() == Code.METHOD_NOT_ALLOWED


def test_one_package_at_a_time() -> None:
    peer = downloaded()
    assert peer.write("/5/0/1", URI) == Code.METHOD_NOT_ALLOWED
    assert peer.put("/5/0/0", PACKAGE, 42) == Code.METHOD_NOT_ALLOWED
    assert peer.update() == Code.CHANGED
    assert peer.update() == Code.METHOD_NOT_ALLOWED  # Zephyr would repeat it: once is enough
    assert peer.write("/5/0/1", "") == Code.METHOD_NOT_ALLOWED
    assert peer.put("/5/0/0", b"\0", 42) == Code.METHOD_NOT_ALLOWED
    assert peer.standing() == (UPDATING, INITIAL)


def test_what_was_refused_is_not_written() -> None:
    peer = downloaded()
    assert peer.write("/5/0/1", "coap://192.0.2.1/other") == Code.METHOD_NOT_ALLOWED
    assert peer.text("/5/0/1") == URI


def test_state_and_result_cannot_be_written() -> None:
    peer = updatable()
    for resource in (3, 5, 7, 8, 9):
        assert peer.put(f"/5/0/{resource}", b"1", 0) == Code.METHOD_NOT_ALLOWED


# Reset, cancelled, rebooted


@pytest.mark.parametrize("reset", ["uri", "package", "empty package"])
def test_a_reset_throws_the_package_away(reset: str) -> None:
    peer = downloaded()
    code = {
        "uri": lambda: peer.write("/5/0/1", ""),
        "package": lambda: peer.put("/5/0/0", b"\0", 42),
        "empty package": lambda: peer.put("/5/0/0", b"", 42),
    }[reset]()
    assert code == Code.CHANGED
    assert peer.standing() == (IDLE, INITIAL)
    assert peer.text("/5/0/7") == ""
    assert peer.update() == Code.METHOD_NOT_ALLOWED


def test_a_reset_ends_a_download() -> None:
    peer = updatable()
    peer.depot.lose = {2}
    peer.offer()
    assert peer.standing() == (DOWNLOADING, INITIAL)
    assert peer.write("/5/0/1", "") == Code.CHANGED
    assert (peer.standing(), peer.lines[0].open) == ((IDLE, INITIAL), False)
    asked = len(peer.depot.asked)
    peer.advance(300.0)
    assert (len(peer.depot.asked), peer.standing()) == (asked, (IDLE, INITIAL))


def test_a_reset_forgets_a_failure() -> None:
    peer = with_outcome(Outcome.NO_STORAGE)
    peer.offer()
    assert peer.standing() == (IDLE, UpdateResult.NO_STORAGE)
    assert peer.write("/5/0/1", "") == Code.CHANGED
    assert peer.standing() == (IDLE, INITIAL)


def test_cancel_came_with_1_2() -> None:
    assert updatable().execute("/5/0/10") == Code.NOT_FOUND
    peer = updatable(options=replace(CALM, lwm2m_version="1.2"))
    assert peer.execute("/5/0/10") == Code.METHOD_NOT_ALLOWED
    peer.offer()
    assert peer.execute("/5/0/10") == Code.CHANGED
    assert peer.standing() == (IDLE, UpdateResult.CANCELLED)
    peer.offer()
    peer.update()
    assert peer.execute("/5/0/10") == Code.METHOD_NOT_ALLOWED


def test_a_reboot_forgets_state_and_package() -> None:
    peer = downloaded()
    assert peer.execute("/3/0/4") == Code.CHANGED
    peer.advance(2.0)
    assert peer.standing() == (IDLE, INITIAL)
    assert peer.moves == 0


@pytest.mark.parametrize("persistent", [False, True])
def test_a_reboot_in_the_middle_of_a_download(persistent: bool) -> None:
    peer = updatable(FirmwareOptions(persistent=persistent))
    peer.depot.lose = {3}
    peer.offer()
    assert peer.execute("/3/0/4") == Code.CHANGED
    peer.advance(2.0)
    result = UpdateResult.CONNECTION_LOST if persistent else INITIAL
    assert (peer.standing(), peer.lines[0].open) == ((IDLE, result), False)
    peer.depot.lose = set()
    peer.offer()
    assert peer.standing() == (DOWNLOADED, INITIAL)


def test_a_persistent_device_keeps_package_and_result() -> None:
    peer = downloaded(persistent=True)
    peer.execute("/3/0/4")
    peer.advance(2.0)
    assert (peer.standing(), peer.text("/5/0/7")) == ((DOWNLOADED, INITIAL), "2.0.0")
    peer.update()
    peer.advance(5.0)
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, SUCCESS), "2.0.0")
    peer.execute("/3/0/4")
    peer.advance(2.0)
    assert peer.standing() == (IDLE, SUCCESS)


def test_a_forgetful_device_forgets_its_success() -> None:
    peer = downloaded()
    peer.update()
    peer.advance(5.0)
    peer.execute("/3/0/4")
    peer.advance(2.0)
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, INITIAL), "2.0.0")


def test_a_factory_reset_ends_a_download() -> None:
    peer = updatable()
    peer.depot.lose = {3}
    peer.offer()
    assert peer.execute("/3/0/5") == Code.CHANGED
    assert not peer.lines[0].open
    assert peer.standing() == (IDLE, INITIAL)


def test_a_factory_reset_leaves_the_firmware() -> None:
    peer = downloaded()
    peer.update()
    peer.advance(5.0)
    assert peer.execute("/3/0/5") == Code.CHANGED
    peer.advance(2.0)
    assert peer.text("/3/0/3") == "2.0.0"


def test_a_device_leaves_in_the_middle_of_a_download() -> None:
    peer = updatable()
    peer.depot.lose = {3}
    peer.offer()
    assert peer.device.stop(peer.now)
    peer.be_friendly()
    assert not peer.lines[0].open
    assert peer.device.deadline == float("inf")


# Every way it can end


@pytest.mark.parametrize("pushed", [False, True])
@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome.NO_STORAGE, Code.REQUEST_ENTITY_TOO_LARGE),
        (Outcome.NO_MEMORY, Code.INTERNAL_SERVER_ERROR),
        (Outcome.CONNECTION_LOST, Code.INTERNAL_SERVER_ERROR),
        (Outcome.INTEGRITY_FAILED, Code.INTERNAL_SERVER_ERROR),
        (Outcome.UNSUPPORTED_PACKAGE, Code.UNSUPPORTED_CONTENT_FORMAT),
    ],
)
def test_a_download_that_fails(outcome: Outcome, code: Code, pushed: bool) -> None:
    peer = with_outcome(outcome)
    if pushed:
        assert peer.push().code == code
    else:
        peer.offer()
        assert not peer.lines[0].open
    assert peer.standing() == (IDLE, UpdateResult(int(outcome.value[-1])))
    assert peer.update() == Code.METHOD_NOT_ALLOWED
    assert peer.statistics.firmware_failed == 1


@pytest.mark.parametrize(
    ("outcome", "blocks"),
    [
        (Outcome.NO_STORAGE, 1),
        (Outcome.NO_MEMORY, 5),
        (Outcome.CONNECTION_LOST, 5),
        (Outcome.INTEGRITY_FAILED, 10),
        (Outcome.UNSUPPORTED_PACKAGE, 10),
    ],
)
def test_a_download_fails_where_a_real_one_does(outcome: Outcome, blocks: int) -> None:
    peer = with_outcome(outcome)
    peer.offer()
    assert len(peer.depot.asked) == blocks


@pytest.mark.parametrize("outcome", [Outcome.INVALID_URI, Outcome.UNSUPPORTED_PROTOCOL])
def test_a_uri_that_a_device_does_not_take(outcome: Outcome) -> None:
    peer = with_outcome(outcome)
    peer.offer()
    assert peer.standing() == (IDLE, UpdateResult(int(outcome.value[-1])))
    assert peer.lines == []
    assert peer.push().code == Code.CHANGED  # no URI, no trouble
    assert peer.standing() == (DOWNLOADED, INITIAL)


@pytest.mark.parametrize("keeps_package", [False, True])
def test_an_installation_that_fails(keeps_package: bool) -> None:
    peer = downloaded(Outcome.UPDATE_FAILED, keeps_package=keeps_package)
    peer.take()
    peer.update()
    peer.advance(10.0)
    assert peer.standing() == (DOWNLOADED if keeps_package else IDLE, UpdateResult.UPDATE_FAILED)
    assert peer.take() == []  # it never went away
    assert peer.text("/3/0/3") == "1.0.0"
    assert peer.update() == (Code.CHANGED if keeps_package else Code.METHOD_NOT_ALLOWED)


@pytest.mark.parametrize("result", [UpdateResult.INITIAL, UpdateResult.UPDATE_FAILED])
def test_a_revert_comes_back_with_the_old_version(result: UpdateResult) -> None:
    peer = downloaded(Outcome.REVERT, revert_result=result)
    peer.take()
    peer.update()
    peer.advance(5.0)
    assert paths(peer.take()) == [("rd",)]
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, result), "1.0.0")
    assert peer.statistics.firmware_installed == 0


def test_an_unconfirmed_update_has_the_version_and_no_result() -> None:
    peer = downloaded(Outcome.UNCONFIRMED)
    peer.update()
    peer.advance(5.0)
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, INITIAL), "2.0.0")


def test_a_device_that_never_comes_back() -> None:
    peer = downloaded(Outcome.GONE)
    peer.take()
    peer.update()
    peer.advance(86_400.0)
    assert (peer.is_in(State.OFF), peer.take()) == (True, [])
    assert not peer.device.stop(peer.now)


def test_a_deferred_update_is_installed_later() -> None:
    peer = downloaded(Outcome.DEFERRED, defer_s=60.0)
    assert peer.update() == Code.CHANGED
    assert peer.standing() == (DOWNLOADED, UpdateResult.DEFERRED)
    peer.advance(59.0)
    assert peer.standing() == (DOWNLOADED, UpdateResult.DEFERRED)
    peer.advance(2.0)
    assert peer.standing() == (UPDATING, INITIAL)
    peer.advance(5.0)
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, SUCCESS), "2.0.0")


def test_a_deferred_update_may_be_reset() -> None:
    peer = downloaded(Outcome.DEFERRED, defer_s=60.0)
    peer.update()
    assert peer.write("/5/0/1", "") == Code.CHANGED
    peer.advance(120.0)
    assert (peer.standing(), peer.text("/3/0/3")) == ((IDLE, INITIAL), "1.0.0")


def test_a_slow_device_takes_its_time() -> None:
    peer = downloaded(Outcome.SLOW)
    peer.update()
    peer.advance(29.0)
    assert peer.standing() == (UPDATING, INITIAL)
    peer.advance(3.0)
    assert peer.standing() == (IDLE, SUCCESS)


@pytest.mark.parametrize("pushed", [False, True])
def test_a_flaky_device_loses_the_first_download(pushed: bool) -> None:
    peer = with_outcome(Outcome.FLAKY)
    for standing in ((IDLE, UpdateResult.CONNECTION_LOST), (DOWNLOADED, INITIAL)):
        if pushed:
            peer.push()
        else:
            peer.offer()
        assert peer.standing() == standing


def test_a_stalled_download_says_nothing_any_more() -> None:
    peer = with_outcome(Outcome.STALL)
    peer.offer()
    peer.advance(3600.0)
    assert (peer.standing(), len(peer.depot.asked)) == ((DOWNLOADING, INITIAL), 5)
    assert peer.write("/5/0/1", "") == Code.CHANGED
    peer.offer()
    assert peer.standing() == (DOWNLOADED, INITIAL)


# What a package is


@pytest.mark.parametrize(
    ("package", "standing"),
    [
        (PACKAGE, (DOWNLOADED, INITIAL)),
        (b"version=1.2.3\n" + bytes(700), (DOWNLOADED, INITIAL)),
        (b"version=1.2.3\r\n", (DOWNLOADED, INITIAL)),
        (PACKAGE[:-1], (IDLE, UpdateResult.INTEGRITY_FAILED)),
        (PACKAGE[:20], (IDLE, UpdateResult.INTEGRITY_FAILED)),
        (PACKAGE[:2000], (IDLE, UpdateResult.INTEGRITY_FAILED)),
        (PACKAGE[:1000] + b"?" + PACKAGE[1001:], (IDLE, UpdateResult.INTEGRITY_FAILED)),
        (PACKAGE[:-1] + b"?", (IDLE, UpdateResult.INTEGRITY_FAILED)),
        (bytes(700), (IDLE, UpdateResult.UNSUPPORTED_PACKAGE)),
        (b"version=\n", (IDLE, UpdateResult.UNSUPPORTED_PACKAGE)),
        (b"version=1.2.3", (IDLE, UpdateResult.UNSUPPORTED_PACKAGE)),
    ],
)
def test_a_package_is_judged(package: bytes, standing: tuple[DeviceState, UpdateResult]) -> None:
    peer = updatable()
    peer.depot.package = package
    peer.offer()
    assert peer.standing() == standing


# Object 33629


def advanced(outcome: Outcome = Outcome.SUCCESS) -> FirmwarePeer:
    return updatable(FirmwareOptions(objects=(33629,), outcome={0: outcome}))


def test_the_components_tell_what_they_are() -> None:
    peer = advanced()
    assert peer.get("/5/0").code == Code.NOT_FOUND
    told = peer.read(peer.get("/33629"), "/33629")
    assert (told["/33629/0/14"], told["/33629/1/14"]) == ("application", "modem")
    assert (told["/33629/0/15"], told["/33629/1/15"]) == ("1.0.0", "2.0.0")
    assert told["/33629/1/9"] == DeliveryMethod.BOTH


def test_one_component_is_updated_alone() -> None:
    peer = advanced()
    assert peer.push(MODEM, path="/33629/1/0").code == Code.CHANGED
    assert peer.standing("/33629/1") == (DOWNLOADED, INITIAL)
    assert peer.standing("/33629/0") == (IDLE, INITIAL)
    assert peer.update("/33629/1") == Code.CHANGED
    peer.advance(5.0)
    assert peer.standing("/33629/1") == (IDLE, SUCCESS)
    assert peer.standing("/33629/0") == (IDLE, INITIAL)
    assert peer.text("/33629/1/15") == "3.1.4+5"
    assert peer.text("/3/0/3") == peer.text("/33629/0/15") == "1.0.0"


@pytest.mark.parametrize("arguments", ["", "0='</33629/1>'", "0='</33629/0>,</33629/1>'"])
def test_two_components_are_updated_together(arguments: str) -> None:
    peer = advanced()
    peer.offer(instance="/33629/0")
    peer.push(MODEM, path="/33629/1/0")
    assert peer.read(peer.get("/33629/0/16"), "/33629/0/16") == {"/33629/0/16/0": (33629, 1)}
    assert peer.read(peer.get("/33629/1/16"), "/33629/1/16") == {"/33629/1/16/0": (33629, 0)}
    peer.take()
    assert peer.update("/33629/0", arguments) == Code.CHANGED
    assert peer.standing("/33629/1") == (UPDATING, INITIAL)
    peer.advance(5.0)
    assert paths(peer.take()) == [("rd",)]  # one reboot for both
    assert peer.standing("/33629/0") == peer.standing("/33629/1") == (IDLE, SUCCESS)
    assert (peer.text("/3/0/3"), peer.text("/33629/1/15")) == ("2.0.0", "3.1.4+5")
    assert peer.text("/33629/0/15") == "2.0.0"


def test_a_component_may_be_left_out() -> None:
    peer = advanced()
    peer.offer(instance="/33629/0")
    peer.push(MODEM, path="/33629/1/0")
    assert peer.update("/33629/0", "0") == Code.CHANGED
    assert peer.standing("/33629/1") == (DOWNLOADED, INITIAL)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ("0='</33629/1>'", Code.METHOD_NOT_ALLOWED),  # nothing downloaded there
        ("0='</33629/7>'", Code.NOT_FOUND),
        ("0='</5/0>'", Code.BAD_REQUEST),
        ("1", Code.BAD_REQUEST),
    ],
)
def test_components_that_cannot_be_updated_together(arguments: str, code: Code) -> None:
    peer = advanced()
    peer.offer(instance="/33629/0")
    assert peer.update("/33629/0", arguments) == code
    assert peer.standing("/33629/0") == (DOWNLOADED, INITIAL)


def test_components_fail_together() -> None:
    peer = advanced(Outcome.UPDATE_FAILED)
    peer.offer(instance="/33629/0")
    peer.push(MODEM, path="/33629/1/0")
    peer.update("/33629/0")
    peer.advance(5.0)
    assert peer.standing("/33629/0") == peer.standing("/33629/1") == (IDLE, UpdateResult.UPDATE_FAILED)


def test_a_component_that_was_reset_is_left_out_of_a_deferred_update() -> None:
    peer = advanced(Outcome.DEFERRED)
    peer.offer(instance="/33629/0")
    peer.push(MODEM, path="/33629/1/0")
    assert peer.update("/33629/0") == Code.CHANGED
    assert peer.write("/33629/1/1", "") == Code.CHANGED
    peer.advance(20.0)
    assert peer.standing("/33629/0") == (IDLE, SUCCESS)
    assert (peer.standing("/33629/1"), peer.text("/33629/1/15")) == ((IDLE, INITIAL), "2.0.0")


def test_a_component_that_is_not_there() -> None:
    peer = advanced()
    assert peer.push(path="/33629/2/0").code == Code.NOT_FOUND
    assert peer.put("/33629/2/1", b"coap://a/b", 0) == Code.NOT_FOUND


# Many


def test_an_idle_device_has_made_nothing_for_an_update() -> None:
    peer = updatable(options=SimOptions())
    peer.get("/5/0")
    peer.advance(600.0)
    assert peer.device.firmware._components is None
    assert peer.device.firmware.deadline == float("inf")


def test_whatever_is_turned_the_state_is_known() -> None:
    """A reboot and a reset are possible where the figure in E.6 has them."""
    assert all((state, Turn.BOOT) in TURNS for state in DeviceState)
    resettable = {state for state in DeviceState if (state, Turn.RESET) in TURNS}
    assert resettable == {IDLE, DOWNLOADING, DOWNLOADED}
    assert {TURNS[state, Turn.RESET] for state in resettable} == {IDLE}
