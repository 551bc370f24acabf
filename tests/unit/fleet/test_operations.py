"""The life of operations: in order, woken, tried again, ended; on disk before anybody is told."""

import asyncio

import pytest

from flownexus_appliance.db import writer
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.db.operations import MAX_RESULT, EndpointOperation
from flownexus_appliance.errors import UsageError
from flownexus_appliance.events import Event
from flownexus_appliance.fleet import operations as engine
from flownexus_appliance.fleet.judging import judge_error
from flownexus_appliance.fleet.ports import Action, Notification, Verdict
from flownexus_appliance.lwm2m.operations import MAX_ATTEMPTS, Status, Step
from flownexus_appliance.lwm2m.presence import AWAKE_WINDOW_S
from flownexus_appliance.lwm2m.values import Value
from tests.peer import until

from .conftest import CBOR, ELSEWHERE, HOME, Asked, House, operation, plain, senml
from .orders import BARE, TEMPERATURE, attempts, execute, nothing_left, read, sleeper, told


@pytest.fixture
def house(quiet_house: House) -> House:
    return quiet_house


async def silent_once(house: House) -> Asked:
    asked = await house.wire.asked()
    asked.fail()
    return asked


# From the asking to the end


async def test_it_is_on_disk_and_then_it_is_sent(house: House) -> None:
    await house.register(links=BARE)
    with house.disk_held():
        asking = asyncio.create_task(house.order(read()))
        await until(lambda: house.store.writer._in_flight is not None)
        assert not asking.done()
        assert house.wire.log == []
    asked = await asking
    assert (asked.status, asked.asked_by, asked.created_ms) == (Status.QUEUED, "test", house.clock.wall_ms)
    request = await house.wire.asked()
    assert house.status(asked) == Status.SENDING, "a restart must know that it may have happened"
    house.clock.advance(1.5)
    request.answer("4.04", b"none")
    kept = await house.done(asked)
    assert (kept.status, kept.changed_ms - kept.created_ms) == (Status.FAILED, 1500)
    assert told(house, asked) == ["QUEUED", "SENDING", "FAILED"]
    assert house.rows("SELECT status, attempts, code, message FROM endpoint_operation") == [
        ("FAILED", 1, "4.04", "none")
    ]
    assert attempts(house, asked) == [(1, True, "4.04")]
    await until(lambda: nothing_left(house))


async def test_nobody_is_told_before_it_is_on_disk(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    request = await house.wire.asked()
    with house.disk_held():
        request.value({"/10/0/0": 1.0})
        await until(lambda: house.store.writer._in_flight is not None)
        assert told(house, asked) == ["QUEUED", "SENDING"]
        assert (await house.fleet.operations.finished(asked.id, 0.001)).status is Status.SENDING
        with pytest.raises(UsageError) as raised:
            await house.fleet.operations.cancel(asked.id)
        assert raised.value.code == "operation_done"
    assert (await house.done(asked)).status is Status.CONFIRMED


async def test_what_is_told(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    (await house.wire.asked()).value({"/10/0/0": 1.0})
    kept = await house.done(asked)

    def is_last(event: Event) -> bool:
        return event.name == "operation" and event.data["status"] == "CONFIRMED"

    event = await house.told.until(is_last)
    assert event.subject == kept
    assert event.data == {
        "endpoint": "one",
        "id": asked.id,
        "operation": "read",
        "paths": ["/10/0/0"],
        "status": "CONFIRMED",
        "attempts": 1,
        "code": "2.05",
        "message": "",
        "time_ms": house.clock.wall_ms,
    }


async def test_values_are_on_disk_before_the_end_is_told(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("read", TEMPERATURE))
    (await house.wire.asked()).value({TEMPERATURE: 21.5})
    await task
    assert house.rows.samples("one", TEMPERATURE) == [21.5]


async def test_more_than_the_disk_keeps_is_given_to_who_waits(house: House) -> None:
    await house.register(links=BARE)
    task = house.perform(operation("read", "/10/0/0"))
    large: Value = "x" * (MAX_RESULT + 1)
    (await house.wire.asked()).value({"/10/0/0": large})
    kept = await task
    assert ([r.value for r in kept.outcome.records], kept.outcome.cut) == ([large], False)
    recalled = await house.fleet.operations._recall(kept.id)
    assert recalled is not None
    assert (recalled.outcome.records, recalled.outcome.cut) == ((), True)


@pytest.mark.parametrize("endpoint", ["", "nobody"])
async def test_an_endpoint_that_nobody_knows(house: House, endpoint: str) -> None:
    with pytest.raises(UsageError) as raised:
        await house.order(read(), endpoint)
    assert raised.value.code == "endpoint_unknown"


async def test_an_endpoint_that_never_registered(house: House) -> None:
    await house.fleet.credentials.add_psk("new")
    with pytest.raises(UsageError) as raised:
        await house.order(read(), "new")
    assert raised.value.code == "endpoint_unseen"


async def test_what_the_model_forbids_is_for_the_device_to_say_if_so_wished(house: House) -> None:
    await house.register(links=b"</3/0>")
    wanted = operation("write", "/3/0/0", values={"/3/0/0": "x"})
    with pytest.raises(UsageError) as raised:
        await house.order(wanted, checked=True)
    assert raised.value.code == "not_writable"
    with pytest.raises(UsageError) as raised:
        await house.order(operation("read", "/4"), checked=True)
    assert raised.value.code == "object_unknown"
    house.wire.plays[HOME] = lambda asked: asked.answer("4.05")
    await house.onboarded()
    assert (await house.perform(wanted)).outcome.code == "4.05"


async def test_a_queue_has_an_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "MAX_WAITING", 3)
    monkeypatch.setattr(engine, "MAX_WAITING_IN_ALL", 4)
    await sleeper(house)
    await house.deregister(await house.register("two", ELSEWHERE, BARE), ELSEWHERE)
    first = await house.order(read())
    for _ in range(2):
        await house.order(read())
    with pytest.raises(UsageError, match="3 operations wait for one") as raised:
        await house.order(read())
    assert raised.value.code == "queue_full"
    await house.order(read(), "two")
    with pytest.raises(UsageError, match="4 operations wait for devices"):
        await house.order(read(), "two")
    await house.fleet.operations.cancel(first.id)
    await house.order(read())
    assert (house.fleet.operations.waiting("one"), house.fleet.operations.waiting("two")) == (3, 1)


async def test_counts(house: House) -> None:
    await house.register(links=BARE)
    assert house.fleet.operations.counts() == {"QUEUED": 0, "SENDING": 0}
    for number in range(3):
        await house.order(read(number))
    await house.wire.asked()
    assert house.fleet.operations.counts() == {"QUEUED": 2, "SENDING": 1}
    assert house.fleet.operations.waiting("one") == 3


# Those that sleep


async def speaks_by_update(house: House, registration_id: str) -> None:
    await house.update(registration_id)


async def speaks_by_register(house: House, registration_id: str) -> None:
    await house.register("one", HOME, BARE, "1.1", 86_400, "b=U", "Q")


async def speaks_by_send(house: House, registration_id: str) -> None:
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))


async def speaks_by_a_send_that_nobody_understands(house: House, registration_id: str) -> None:
    await house.outcome(house.uplink(Action.SEND, content_format=CBOR, payload=b"\xff"))


WAKES = [
    speaks_by_update,
    speaks_by_register,
    speaks_by_send,
    speaks_by_a_send_that_nobody_understands,
]


@pytest.mark.parametrize("speaks", WAKES, ids=lambda speaks: speaks.__name__)
async def test_every_message_of_a_device_is_a_wake_up(house: House, speaks: object) -> None:
    registration_id = await sleeper(house)
    asked = [await house.order(read(number)) for number in range(3)]
    assert house.wire.log == []
    await speaks(house, registration_id)  # type: ignore[operator]
    for number in range(3):
        request = await house.wire.asked()
        assert str(request.downlink.path) == f"/10/0/{number}"
        request.answer("4.04")
    assert [(await house.done(one)).status for one in asked] == [Status.FAILED] * 3
    assert house.wire.most_a_device == 1


@pytest.mark.parametrize(
    ("code", "number", "payload"),
    [
        ("2.05", 2, senml({TEMPERATURE: 2.0}, TEMPERATURE)),
        ("2.05", 1, senml({TEMPERATURE: 1.0}, TEMPERATURE)),
        ("2.05", 2, b"\xff"),
        ("4.04", None, b""),
    ],
    ids=["a value", "one that was here", "not understood", "the end of the observation"],
)
async def test_so_is_every_notification(house: House, code: str, number: int | None, payload: bytes) -> None:
    await house.register("one", HOME, BARE, "1.1", 86_400, "b=U", "Q")
    task = house.perform(operation("observe", TEMPERATURE))
    observed = await house.wire.asked()
    observed.value({TEMPERATURE: 1.0}, observe=1)
    await task
    house.clock.advance(AWAKE_WINDOW_S)
    await house.told.presence("one", "sleeping")
    asked = await house.order(read())
    notification = Notification(plain(HOME), observed.downlink.token, number, code, CBOR, payload)
    assert await house.verdict(notification) is Verdict.TAKEN
    (await house.wire.asked()).answer("4.04")
    await house.done(asked)


async def test_a_1_0_device_in_queue_mode_waits_and_is_asked_in_tlv(house: House) -> None:
    registration_id = await sleeper(house, "b=UQ", version="1.0")
    asked = await house.order(read())
    assert house.wire.log == []
    await house.update(registration_id)
    request = await house.wire.asked()
    assert request.downlink.accept == 11542
    request.answer("4.04")
    await house.done(asked)


@pytest.mark.parametrize(
    ("window_s", "heard_ago_s", "sent"),
    [
        (None, AWAKE_WINDOW_S - 2.1, True),
        (None, AWAKE_WINDOW_S - 2.0, False),
        (None, AWAKE_WINDOW_S + 1, False),
        (20.0, 17.9, True),
        (20.0, 18.1, False),
        (5.0, 4.4, True),
        (5.0, 4.6, False),
        (300.0, 297.0, True),
    ],
)
async def test_at_the_end_of_the_window_nothing_is_begun(
    house: House, window_s: float | None, heard_ago_s: float, sent: bool
) -> None:
    registration_id = await house.register("one", HOME, BARE, "1.1", 86_400, "b=U", "Q")
    if window_s is not None:
        await house.fleet.configure("one", awake_window_s=window_s)
    house.clock.advance(heard_ago_s)
    asked = await house.order(read())
    if sent:
        request = await house.wire.asked()
        left_s = (AWAKE_WINDOW_S if window_s is None else window_s) - heard_ago_s
        assert request.downlink.timeout_s == pytest.approx(min(left_s, 100.0))
    else:
        assert (house.wire.log, house.status(asked)) == ([], "QUEUED")
        await house.update(registration_id)
        request = await house.wire.asked()
    request.answer("4.04")
    await house.done(asked)


async def test_who_listens_always_has_all_the_patience(house: House) -> None:
    await house.register(links=BARE)
    house.clock.advance(250)
    task = house.perform(read())
    request = await house.wire.asked()
    assert request.downlink.timeout_s == 100.0
    request.answer("4.04")
    await task


async def test_a_longer_window_lets_what_waits_go(house: House) -> None:
    await house.register("one", HOME, BARE, "1.1", 86_400, "b=U", "Q")
    house.clock.advance(AWAKE_WINDOW_S - 1)
    asked = await house.order(read())
    assert house.wire.log == []
    await house.fleet.configure("one", awake_window_s=200)
    (await house.wire.asked()).answer("4.04")
    await house.done(asked)


async def test_the_box_waits_for_what_people_ask(house: House) -> None:
    """Onboarding after a Register comes behind the operations that waited for it."""
    registration_id = await house.register(links=BARE)
    await house.deregister(registration_id)
    asked = [await house.order(read(number)) for number in range(2)]
    house.wire.plays[HOME] = lambda request: request.answer("4.04")
    await house.register(links=b"</3/0>")
    for one in asked:
        await house.done(one)
    await house.onboarded()
    assert house.wire.steps == ["read /10/0/0", "read /10/0/1", "discover /3", "read /3/0"]


# Without an answer


async def test_a_try_a_wake_up_and_three_in_all(house: House) -> None:
    registration_id = await sleeper(house)
    asked, behind = await house.order(read()), await house.order(read(1))
    for number in range(1, MAX_ATTEMPTS + 1):
        await house.update(registration_id)
        assert (await silent_once(house)).downlink.path == asked.operation.path
        await house.becomes(asked, Status.FAILED if number == MAX_ATTEMPTS else Status.QUEUED)
        await until(lambda: house.fleet.presence("one") == "sleeping")
    kept = await house.done(asked)
    assert (kept.attempts, kept.outcome.code) == (MAX_ATTEMPTS, "")
    assert "it did not answer" in kept.outcome.message
    assert attempts(house, asked) == [(n, True, "") for n in (1, 2, 3)]
    assert len(house.wire.log) == MAX_ATTEMPTS, "what is behind waits for the next wake-up"
    await house.update(registration_id)
    (await house.wire.asked()).answer("4.04")
    await house.done(behind)


async def test_one_that_was_heard_meanwhile_is_asked_again_at_once(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read())
    first = await house.wire.asked()
    house.clock.advance(1)
    await house.outcome(house.send_request({TEMPERATURE: 1.0}))
    first.fail()
    (await house.wire.asked()).answer("4.04")
    assert (await house.done(asked)).attempts == 2


@pytest.mark.parametrize("code", ["5.03", "4.29"])
async def test_a_device_that_says_later_is_asked_at_its_next_message(house: House, code: str) -> None:
    registration_id = await house.register(links=BARE)
    asked = await house.order(read())
    for number in range(1, MAX_ATTEMPTS):
        (await house.wire.asked()).answer(code)
        await house.becomes(asked, Status.QUEUED)
        assert len(house.wire.log) == number, "its own answer is no wake-up"
        await house.update(registration_id)
    (await house.wire.asked()).answer(code, b"busy", 0)
    kept = await house.done(asked)
    assert (kept.status, kept.outcome.code, kept.attempts) == (Status.FAILED, code, MAX_ATTEMPTS)
    assert attempts(house, asked) == [(n, True, code) for n in (1, 2, 3)]


async def test_an_execute_that_was_refused_for_now_may_be_sent_again(house: House) -> None:
    registration_id = await house.register(links=BARE)
    asked = await house.order(execute())
    (await house.wire.asked()).answer("5.03")
    await house.becomes(asked, Status.QUEUED)
    await house.update(registration_id)
    (await house.wire.asked()).answer("2.04")
    assert (await house.done(asked)).status is Status.CONFIRMED


@pytest.mark.parametrize("kind", ["execute", "create"])
async def test_what_may_have_been_done_is_not_done_again(house: House, kind: str) -> None:
    registration_id = await house.register(links=BARE)
    path = {"execute": "/3/0/4", "create": "/3303"}[kind]
    asked = await house.order(operation(kind, path))
    await silent_once(house)
    kept = await house.done(asked)
    assert (kept.status, kept.attempts) == (Status.FAILED, 1)
    assert "nobody knows" in kept.outcome.message
    await house.update(registration_id)
    task = house.perform(read())
    (await house.wire.asked()).answer("4.04")
    await task
    assert len(house.wire.log) == 2


async def test_nor_while_the_disk_fails(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its silence goes to the disk what the disk is owed, and does not take."""
    monkeypatch.setattr(writer, "RETRY_S", 0.3)
    registration_id = await house.register(links=BARE)
    gone = await house.register("gone", ELSEWHERE, BARE)
    asked = await house.order(execute())
    request = await house.wire.asked()
    with house.disk_fails("DELETE ON registration"):
        assert await house.deregister(gone, ELSEWHERE) is None
    request.fail()
    kept = await house.done(asked)
    assert kept.status is Status.FAILED
    assert "nobody knows" in kept.outcome.message
    await house.update(registration_id)
    task = house.perform(read())
    (await house.wire.asked()).answer("4.04")
    await task
    assert [request.what for request in house.wire.log] == ["execute /3/0/4", "read /10/0/0"]


def test_not_even_where_the_disk_is_to_blame() -> None:
    """Nothing of an Execute is kept between its sending and its answer: this cannot be. If it is, then so."""
    failed = StoreError("store_failed", "disk full")
    for wanted, step in ((execute(), Step.REFUSE), (read(), Step.POSTPONE)):
        sending = EndpointOperation(1, "one", wanted, "test", 1, 1, Status.SENDING, 1)
        assert judge_error(failed, sending).step is step


async def test_what_nobody_foresaw_ends_it_and_the_line_goes_on(house: House) -> None:
    await house.register(links=BARE)
    first, second = house.perform(read()), house.perform(read(1))
    (await house.wire.asked()).fail(RuntimeError("a defect"))
    kept = await first
    assert (kept.status, kept.outcome.message) == (Status.FAILED, "something went wrong in the appliance")
    (await house.wire.asked()).answer("4.04")
    await second


async def test_a_defect_of_the_line_itself_does_not_make_it_run_hot(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.register(links=BARE)
    calls = 0

    def broken(*_: object) -> None:
        nonlocal calls
        calls += 1
        raise RuntimeError("a defect")

    with monkeypatch.context() as patched:
        patched.setattr(house.fleet.operations, "_pay", broken)
        asked = await house.order(read())
        await until(lambda: calls > 0)
        before, ticks = calls, house.clock()
        for _ in range(50):
            await asyncio.sleep(0)
        assert calls - before < 10
        assert ticks == house.clock()
    (await house.wire.asked()).answer("4.04")
    await house.done(asked)


# Deadlines


async def test_what_waited_too_long_expires(house: House) -> None:
    registration_id = await sleeper(house)
    asked = await house.order(read(), deadline_ms=house.clock.wall_ms + 5000)
    behind = await house.order(read(1))
    house.clock.advance(4.999)
    assert house.status(asked) == "QUEUED"
    house.clock.advance(0.001)
    kept = await house.done(asked)
    assert (kept.status, kept.attempts, kept.outcome.code) == (Status.EXPIRED, 0, "")
    assert "deadline" in kept.outcome.message
    assert kept.outcome.hint
    await house.update(registration_id)
    assert (await house.wire.asked()).downlink.path == behind.operation.path
    house.wire.log[-1].answer("4.04")
    await house.done(behind)


async def test_one_that_is_past_is_not_sent_even_before_the_clock_has_looked(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    registration_id = await sleeper(house)
    asked = await house.order(read(), deadline_ms=house.clock.wall_ms + 5000)
    monkeypatch.setattr(house.fleet.operations, "tick", lambda moment: None)
    house.clock.advance(6)
    await house.update(registration_id)
    assert (await house.done(asked)).status is Status.EXPIRED
    assert house.wire.log == []


async def test_what_is_under_way_may_still_be_answered(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read(), deadline_ms=house.clock.wall_ms + 5000)
    request = await house.wire.asked()
    house.clock.advance(6)
    request.value({"/10/0/0": 1.0})
    assert (await house.done(asked)).status is Status.CONFIRMED


async def test_but_it_has_no_other_try(house: House) -> None:
    await house.register(links=BARE)
    asked = await house.order(read(), deadline_ms=house.clock.wall_ms + 5000)
    request = await house.wire.asked()
    house.clock.advance(6)
    request.fail()
    kept = await house.done(asked)
    assert (kept.status, kept.attempts, len(house.wire.log)) == (Status.EXPIRED, 1, 1)
    assert "it did not answer" in kept.outcome.message, "why it was not done in time"


async def test_a_deadline_that_has_passed(house: House) -> None:
    await house.register(links=BARE)
    with pytest.raises(UsageError) as raised:
        await house.order(read(), deadline_ms=house.clock.wall_ms)
    assert raised.value.code == "deadline_past"
