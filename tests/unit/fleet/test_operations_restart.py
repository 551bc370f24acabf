"""Operations over the end of the daemon, orderly or by SIGKILL: nothing is lost, nothing done twice."""

import asyncio
from pathlib import Path as FilePath

import pytest

from flownexus_appliance.fleet.fleet import FleetOptions
from flownexus_appliance.fleet.ports import Notification, Verdict
from flownexus_appliance.lwm2m.operations import Operation, Status
from flownexus_appliance.lwm2m.presence import AWAKE_WINDOW_S
from tests.conftest import FakeClock
from tests.peer import until

from .conftest import CBOR, HOME, House, a_house, operation, plain, senml
from .orders import attempts

BARE = b"</1/0>"
TEMPERATURE = "/3303/0/5700"
QUIET = FleetOptions(watch_list=())
QUEUE_MODE = ("one", HOME, BARE, "1.1", 86_400, "b=U", "Q")

REPEATED = [
    operation("read", "/10/0/0"),
    operation("write", "/10/0/0", values={"/10/0/0": 5}),
    operation("delete", "/10/0"),
    operation("discover", "/10"),
    operation("write_attributes", "/10/0/0", attributes=(("pmin", "5"), ("pmax", None))),
    operation("observe", "/10/0/0", content_format=110),
    operation("observe_composite", "/10/0/0", "/11"),
]
ONCE = [
    operation("execute", "/10/0/0", arguments="0='é'"),
    operation("create", "/10", values={"/10/0/1": b"\x00\xff"}),
]


def kind(wanted: Operation) -> str:
    return wanted.kind.value


@pytest.mark.parametrize("wanted", REPEATED, ids=kind)
async def test_what_was_under_way_is_asked_again(
    tmp_path: FilePath, clock: FakeClock, wanted: Operation
) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        asked = await before.order(wanted)
        first = await before.wire.asked()
        behind = await before.order(operation("read", "/10/0/9"))
        before.kill()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        again = await after.wire.asked()
        assert (again.downlink.method, again.downlink.path, again.downlink.payload, again.downlink.query) == (
            first.downlink.method,
            first.downlink.path,
            first.downlink.payload,
            first.downlink.query,
        )
        again.answer("4.05")
        kept = await after.done(asked)
        assert (kept.status, kept.attempts, kept.operation) == (Status.FAILED, 2, wanted)
        last = await after.wire.asked()
        assert last.downlink.path == behind.operation.path
        last.answer("4.04")
        await after.done(behind)


@pytest.mark.parametrize("wanted", ONCE, ids=kind)
async def test_what_may_have_been_done_is_not_asked_again(
    tmp_path: FilePath, clock: FakeClock, wanted: Operation
) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        asked = await before.order(wanted)
        await before.wire.asked()
        behind = await before.order(operation("read", "/10/0/9"))
        before.kill()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        kept = await after.done(asked)
        assert (kept.status, kept.operation) == (Status.FAILED, wanted)
        assert "nobody knows" in kept.outcome.message
        last = await after.wire.asked()
        assert last.downlink.path == behind.operation.path
        last.answer("4.04")
        await after.done(behind)
        assert len(after.wire.log) == 1
        (attempt,) = after.rows(
            "SELECT number, ended_ms FROM operation_attempt WHERE operation_id = ?", asked.id
        )
        assert attempt == (1, 0), "that it was tried, and that nobody knows its end"


async def test_an_execute_that_was_not_sent_yet_is_sent(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        registration_id = await before.register(*QUEUE_MODE)
        clock.advance(AWAKE_WINDOW_S)
        await before.told.presence("one", "sleeping")
        asked = [await before.order(wanted) for wanted in (*ONCE, *REPEATED)]
        before.kill()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        after.wire.plays[HOME] = lambda request: request.answer("4.05")
        assert after.fleet.operations.waiting("one") == len(asked)
        assert after.wire.log == [], "it sleeps until it is heard"
        await after.update(registration_id)
        for one in asked:
            assert (await after.done(one)).operation == one.operation
        assert [str(request.downlink.path) for request in after.wire.log] == [
            str(one.operation.path) if not one.operation.composite else "/" for one in asked
        ]


async def test_an_answer_that_was_not_kept_leaves_it_open(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        execute, read = await before.order(ONCE[0]), await before.order(REPEATED[0])
        request = await before.wire.asked()
        before.kill()
        request.answer("2.04")
        await until(lambda: execute.id in before.fleet.operations._owed)
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        assert (await after.done(execute)).status is Status.FAILED
        request = await after.wire.asked()
        assert request.downlink.path == read.operation.path
        request.answer("4.04")
        await after.done(read)
        assert len(after.wire.log) == 1


@pytest.mark.parametrize("ends", ["confirmed", "failed", "cancelled", "expired"])
async def test_what_is_done_stays_done(tmp_path: FilePath, clock: FakeClock, ends: str) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        deadline_ms = clock.wall_ms + 1000 if ends == "expired" else 0
        before.fleet.operations._open = ends not in ("cancelled", "expired")
        asked = await before.order(REPEATED[0], deadline_ms=deadline_ms)
        if ends == "cancelled":
            await before.fleet.operations.cancel(asked.id)
        elif ends == "expired":
            clock.advance(2)
        else:
            payload = senml({"/10/0/0": 1}) if ends == "confirmed" else b""
            (await before.wire.asked()).answer("2.05" if payload else "4.04", payload)
        await before.becomes(asked, Status(ends.upper()))
        before.kill()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        assert after.fleet.operations.waiting("one") == 0
        assert after.status(asked) == ends.upper()
        again = await after.order(REPEATED[0])
        assert again.id > asked.id
        (await after.wire.asked()).answer("4.04")
        await after.done(again)
        assert len(after.wire.log) == 1


async def test_a_deadline_that_passed_while_the_box_was_off(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        asked = await before.order(REPEATED[0], deadline_ms=clock.wall_ms + 5000)
        await before.wire.asked()
        before.kill()
    clock.advance(10)
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        assert (await after.done(asked)).status is Status.EXPIRED
        assert after.wire.log == []


async def test_tries_are_counted_over_a_restart_with_the_one_it_broke_off(
    tmp_path: FilePath, clock: FakeClock
) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        registration_id = await before.register(links=BARE)
        asked = await before.order(REPEATED[0])
        (await before.wire.asked()).fail()
        await before.becomes(asked, Status.QUEUED)
        await before.update(registration_id)
        await before.wire.asked()
        before.kill()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        (await after.wire.asked()).fail()
        assert (await after.done(asked)).attempts == 3
        assert [number for number, *_ in attempts(after, asked)] == [1, 2, 3], "each is kept"


async def test_an_orderly_stop_is_no_different(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        read, execute = await before.order(REPEATED[0]), await before.order(ONCE[0])
        await before.wire.asked()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        (await after.wire.asked()).answer("4.04")
        await after.done(read)
        (await after.wire.asked()).answer("2.04")
        assert (await after.done(execute)).status is Status.CONFIRMED
    async with a_house(tmp_path / "db", clock, QUIET) as last:
        later = await last.order(REPEATED[0])
        assert later.id > execute.id
        (await last.wire.asked()).answer("4.04")
        await last.done(later)


async def test_a_composite_observation_is_matched_by_its_token(tmp_path: FilePath, clock: FakeClock) -> None:
    """Of a single path too: its notifications have whole paths, and it is ended by the same request."""
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        task = before.perform(operation("observe_composite", TEMPERATURE))
        begun = await before.wire.asked()
        begun.answer("2.05", senml({TEMPERATURE: 1.0}), observe=1)
        await task
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        token = begun.downlink.token
        news = Notification(plain(HOME), token, 2, "2.05", CBOR, senml({TEMPERATURE: 2.0}))
        assert await after.verdict(news) is Verdict.TAKEN
        assert after.rows.samples("one", TEMPERATURE) == [1.0, 2.0]
        task = after.perform(operation("cancel", TEMPERATURE))
        ended = await after.wire.asked()
        assert (ended.downlink.token, ended.downlink.payload, ended.downlink.observe) == (
            token,
            begun.downlink.payload,
            1,
        )
        ended.answer("2.05", senml({TEMPERATURE: 3.0}))
        await task
        assert after.rows.observations("one") == {}


async def test_a_window_of_its_own_outlives_a_restart(tmp_path: FilePath, clock: FakeClock) -> None:
    async def listens_for(house: House, registration_id: str, window_s: float) -> None:
        await house.update(registration_id)
        clock.advance(window_s - 3)
        task = house.perform(REPEATED[0])
        request = await house.wire.asked()
        assert request.downlink.timeout_s == pytest.approx(3)
        request.answer("4.04")
        await task
        clock.advance(window_s - 1)
        asked = await house.order(REPEATED[0])
        assert house.status(asked) == Status.QUEUED
        await house.fleet.operations.cancel(asked.id)

    async with a_house(tmp_path / "db", clock, QUIET) as first:
        registration_id = await first.register(*QUEUE_MODE)
        await first.fleet.configure("one", awake_window_s=30)
        await listens_for(first, registration_id, 30)
    async with a_house(tmp_path / "db", clock, QUIET) as second:
        await listens_for(second, registration_id, 30)
        await second.fleet.configure("one", awake_window_s=0)
        await listens_for(second, registration_id, AWAKE_WINDOW_S)
    async with a_house(tmp_path / "db", clock, QUIET) as third:
        await listens_for(third, registration_id, AWAKE_WINDOW_S)


async def test_the_disk_may_fail_right_at_the_start(tmp_path: FilePath, clock: FakeClock) -> None:
    async with a_house(tmp_path / "db", clock, QUIET) as before:
        await before.register(links=BARE)
        execute, read = await before.order(ONCE[0]), await before.order(REPEATED[0])
        await before.wire.asked()
        before.kill()
    with before.disk_fails("UPDATE ON endpoint_operation"):
        async with a_house(tmp_path / "db", clock, QUIET) as failing:
            await until(lambda: failing.store.writer._broken)
            waiting = asyncio.create_task(failing.fleet.operations.finished(execute.id, 0))
            assert (await waiting).status is Status.SENDING
            assert failing.wire.log == []
            failing.kill()
    async with a_house(tmp_path / "db", clock, QUIET) as after:
        assert (await after.done(execute)).status is Status.FAILED
        (await after.wire.asked()).answer("4.04")
        await after.done(read)
        assert len(after.wire.log) == 1
