"""What waits for a device: over windows of Queue Mode, refusals, registrations and restarts.

LwM2M Core 1.1.1 sections 6.2.1 (a Register ends observations and attributes), 6.3, 6.4 and 6.5 (Queue Mode).
"""

import asyncio
import json
import socket
import urllib.parse
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
import pytest

from tests.interop.daemon import LOOPBACK, Daemon, running
from tests.interop.program import until as eventually
from tests.peer import (
    ACK,
    CON,
    CONTENT,
    EMPTY,
    FETCH,
    GET,
    NON,
    OBSERVE,
    POST,
    PUT,
    RST,
    SENML_CBOR,
    Frame,
    device,
    until,
)

from .thermometer import BASE_NAME, NAME, TEMPERATURE, Thermometer, senml, serving

TIMEZONE, BATTERY, CLOCK, CLEAR = "/3/0/15", "/3/0/9", "/3/0/13", "/3/0/12"
BOTH = [TEMPERATURE, CLOCK]
REFUSED, BUSY = 0x80, 0xA3
READ: Mapping[str, Any] = {"operation": "read", "path": BATTERY}
EXECUTE: Mapping[str, Any] = {"operation": "execute", "path": CLEAR}
Strange = Callable[[Frame], bool]


@dataclass(slots=True)
class Client(Thermometer):
    """One that speaks composite operations, and answers as it likes where `strange` says it did."""

    strange: Strange | None = None
    composites: dict[tuple[str, ...], bytes] = field(default_factory=dict)

    def _answer(self, request: Frame) -> None:
        if self.strange is not None and self.strange(request):
            return
        if request.code != FETCH:
            Thermometer._answer(self, request)
            return
        entries = cbor2.loads(request.payload)
        paths = tuple(entry.get(BASE_NAME, "") + entry.get(NAME, "") for entry in entries)
        observe = request.number(OBSERVE)
        if observe == 0:
            self.composites[paths] = request.token
        elif observe == 1:
            self.composites.pop(paths, None)
        found = {path: self.values[path] for path in paths}
        number = self.number if observe == 0 else None
        self.peer.answer(request, CONTENT, senml(found), content_format=SENML_CBOR, observe=number)

    async def report(self, values: Mapping[str, object]) -> int:
        """Notify of the composite observation: ACK or RST, as the answer is."""
        self.number += 1
        sent = self.peer.notify(self.composites[tuple(BOTH)], self.number, senml(values))
        reply = await self.reply()
        assert (reply.code, reply.mid) == (EMPTY, sent.mid), reply
        return reply.kind

    def came(self, *codes: int) -> list[str]:
        """The paths it was asked for by these methods, in order."""
        return [f.path for f in self.asked if f.code in codes]


@asynccontextmanager
async def client(daemon: Daemon, name: str) -> AsyncIterator[Client]:
    with device(daemon.coap_port) as peer:
        async with serving(Client(peer, name)) as started:
            yield started


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that may be killed."""
    with running(tmp_path) as started:
        yield started


async def ready(daemon: Daemon, one: Client, *more: str) -> None:
    """Register, and wait until the daemon has nothing more to ask by itself."""
    onboarded = len(daemon.logged("onboarded", endpoint=one.endpoint))
    await one.register(*more)
    await until(lambda: len(daemon.logged("onboarded", endpoint=one.endpoint)) > onboarded)


async def asleep(daemon: Daemon, one: Client) -> None:
    """Register in Queue Mode, and wait until its window, a second, is over."""
    await ready(daemon, one, "Q")
    daemon.configure(one.endpoint, awake_window_s=1)
    await until(lambda: daemon.endpoint(one.endpoint)["state"] == "sleeping")
    one.asked.clear()


def at(one: Client) -> str:
    return f"/endpoints/{urllib.parse.quote(one.endpoint, safe='')}"


async def ask(daemon: Daemon, one: Client, body: Mapping[str, Any], wait_s: int = 20) -> Any:
    """Ask for an operation, the device being served meanwhile."""
    address = f"{at(one)}/operations?wait={wait_s}"
    return await asyncio.to_thread(daemon.api, address, body)


async def state(daemon: Daemon, asked: Mapping[str, Any], wait_s: int = 20) -> Any:
    return await asyncio.to_thread(daemon.api, f"/operations/{asked['id']}?wait={wait_s}")


def write(text: str) -> Mapping[str, Any]:
    return {"operation": "write", "path": TIMEZONE, "value": text}


async def test_what_does_not_fit_into_a_window_goes_on_in_the_next(daemon: Daemon) -> None:
    """The device turns its radio off after two answers, each time it wakes."""
    async with client(daemon, "short of time") as one:
        await asleep(daemon, one)
        asked = [await ask(daemon, one, write(f"zone {n}"), 0) for n in range(5)]
        assert not one.asked
        left = 0
        heard: list[object] = []

        def off(request: Frame) -> bool:
            nonlocal left
            if left:
                heard.append(cbor2.loads(request.payload)[0][3])
            left -= 1
            return left < 0

        one.strange = off
        for answers in (2, 4):
            left = 2
            await one.update()
            await until(lambda: daemon.endpoint(one.endpoint)["state"] == "sleeping")
            await until(lambda: daemon.api("/operations?status=SENDING")["items"] == [])
            stood = [await state(daemon, each, 0) for each in asked]
            expected = ["CONFIRMED"] * answers + ["QUEUED"] * (5 - answers)
            assert [each["status"] for each in stood] == expected
            assert [each["attempts"] for each in stood[answers:]] == [1] + [0] * (4 - answers)
        left = 2
        await one.update()
        assert (await state(daemon, asked[-1]))["status"] == "CONFIRMED"
        assert heard == [f"zone {n}" for n in range(5)]
        assert one.values[TIMEZONE] == "zone 4"


async def test_a_device_that_does_not_answer_holds_up_nobody_else(daemon: Daemon) -> None:
    async with client(daemon, "silent") as silent, client(daemon, "quick") as quick:
        await ready(daemon, silent)
        await ready(daemon, quick)
        silent.mute = True
        stuck = [await ask(daemon, silent, READ, 0) for _ in range(3)]
        assert (await ask(daemon, quick, READ))["status"] == "CONFIRMED"
        stood = [(await state(daemon, each, 0))["status"] for each in stuck]
        assert stood == ["SENDING", "QUEUED", "QUEUED"]
        for each in reversed(stuck):
            assert daemon.cancel(each["id"]).status == "CANCELLED"
        silent.mute = False
        assert (await ask(daemon, silent, EXECUTE))["status"] == "CONFIRMED"


async def answered(daemon: Daemon, asked: Mapping[str, Any], attempts: int) -> None:
    """Wait until an operation was sent so many times, and answered each time."""

    def so_often() -> bool:
        made = daemon.api(f"/operations/{asked['id']}")["attempts_made"]
        return len(made) == attempts and all(each["code"] for each in made)

    await until(so_often)


async def test_a_device_that_says_later_is_asked_when_it_is_next_heard(daemon: Daemon) -> None:
    async with client(daemon, "busy") as one:
        await ready(daemon, one)
        one.asked.clear()
        busy = [True, True]

        def later(request: Frame) -> bool:
            if not busy:
                return False
            busy.pop()
            one.peer.answer(request, BUSY, b"in a minute")
            return True

        one.strange = later
        asked, after = await ask(daemon, one, EXECUTE, 0), await ask(daemon, one, READ, 0)
        for attempts in (1, 2):
            await answered(daemon, asked, attempts)
            stood = await state(daemon, asked, 0)
            assert (stood["status"], stood["code"]) == ("QUEUED", "5.03")
            assert (stood["attempts"], stood["message"]) == (attempts, "in a minute")
            await one.update()
        stood = await state(daemon, asked)
        assert (stood["status"], stood["attempts"]) == ("CONFIRMED", 3)
        assert [each["code"] for each in stood["attempts_made"]] == ["5.03", "5.03", "2.04"]
        assert (await state(daemon, after))["status"] == "CONFIRMED"
        assert one.came(POST, GET) == [CLEAR, CLEAR, CLEAR, BATTERY]


async def test_a_deadline_passes_while_the_device_sleeps(daemon: Daemon) -> None:
    async with client(daemon, "late") as one:
        await asleep(daemon, one)
        asked = await ask(daemon, one, {**EXECUTE, "deadline_s": 1}, 0)
        after = await ask(daemon, one, READ, 0)
        stood = await state(daemon, asked)
        assert (stood["status"], stood["attempts"], stood["attempts_made"]) == ("EXPIRED", 0, [])
        assert stood["hint"]
        await one.update()
        assert (await state(daemon, after))["status"] == "CONFIRMED"
        assert one.came(POST, GET) == [BATTERY]
        again = await asyncio.to_thread(daemon.api, f"/operations/{asked['id']}/retry?wait=20", {})
        assert (again["status"], again["retry_of"]) == ("CONFIRMED", asked["id"])
        assert again["deadline_ms"] is None


async def test_who_waits_and_goes_away_leaves_the_operation(daemon: Daemon) -> None:
    async with client(daemon, "left") as one:
        await asleep(daemon, one)
        body = json.dumps(EXECUTE).encode()
        head = f"POST /api/v1/endpoints/left/operations?wait=60 HTTP/1.1\r\nHost: {LOOPBACK}\r\n"
        head += f"Authorization: {daemon.bearer['Authorization']}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"

        def come_and_go() -> None:
            plain = socket.create_connection((LOOPBACK, daemon.https_port))
            with daemon.tls.wrap_socket(plain) as stream:
                stream.sendall(head.encode() + body)
                eventually(lambda: daemon.operations("left"), "the operation")

        await asyncio.to_thread(come_and_go)
        (left,) = daemon.operations("left")
        assert left.status == "QUEUED"
        await one.update()
        assert (await asyncio.to_thread(daemon.operation, left.id)).status == "CONFIRMED"
        assert [path for path, _ in one.executed] == [CLEAR]


async def test_what_a_device_refuses_to_report_is_not_wanted(daemon: Daemon) -> None:
    async with client(daemon, "unwilling") as one:
        await ready(daemon, one)

        def unwilling(request: Frame) -> bool:
            attributes = request.code == PUT and bool(request.query)
            if attributes or (request.code == GET and request.path == CLOCK):
                one.peer.answer(request, REFUSED, b"not this one")
            return attributes or request.path == CLOCK

        one.strange = unwilling
        address = f"{at(one)}/observations?wait=20"
        asked = await asyncio.to_thread(
            daemon.api, address, {"path": CLOCK, "attributes": {"pmin": 5, "pmax": 60}}
        )
        stood = [(each["operation"], each["status"], each["code"]) for each in asked["operations"]]
        assert stood == [("write_attributes", "FAILED", "4.00"), ("observe", "FAILED", "4.00")]
        assert asked["operations"][1]["message"] == "not this one"
        assert CLOCK not in daemon.observations(one.endpoint)
        one.strange = None
        one.asked.clear()
        await ready(daemon, one)
        assert not [f for f in one.asked if f.path == CLOCK or f.query]


async def wish(daemon: Daemon, one: Client) -> None:
    """Have it report the clock, with attributes, and two resources as one; the battery no longer."""
    await ready(daemon, one)
    address = f"{at(one)}/observations?wait=20"
    for body in (
        {"path": CLOCK, "attributes": {"pmin": 5, "pmax": 60}},
        {"paths": BOTH, "composite": True},
    ):
        asked = await asyncio.to_thread(daemon.api, address, body)
        assert {each["status"] for each in asked["operations"]} == {"CONFIRMED"}
    cancel = f"{address}&path={BATTERY}"
    ended = await asyncio.to_thread(daemon.api, cancel, method="DELETE")
    assert ended["status"] == "CONFIRMED"
    one.asked.clear()


async def test_a_registration_has_its_wishes_back(daemon: Daemon) -> None:
    """Attributes first, then what people and the watch list want; not what people ended."""
    async with client(daemon, "back") as one:
        await wish(daemon, one)
        before = {**one.observed}, {**one.composites}
        one.composites.clear()
        await ready(daemon, one)
        (attributes,) = [f for f in one.asked if f.code == PUT]
        assert (attributes.path, attributes.query) == (CLOCK, ("pmin=5", "pmax=60"))
        begun = [f for f in one.asked if f.number(OBSERVE) == 0]
        assert one.asked.index(attributes) < min(map(one.asked.index, begun))
        assert sorted(f.path for f in begun) == ["/", CLOCK, TEMPERATURE]
        assert set(one.observed) == {CLOCK, TEMPERATURE}
        assert list(one.composites) == [tuple(BOTH)]
        tokens = {*one.observed.values(), *one.composites.values()}
        assert not tokens & {*before[0].values(), *before[1].values()}, "a Register ends what was observed"
        seen = daemon.observations(one.endpoint)
        assert {key: seen[key]["state"] for key in (CLOCK, " ".join(BOTH), BATTERY)} == {
            CLOCK: "active",
            " ".join(BOTH): "active",
            BATTERY: "off",
        }
        assert await one.report({TEMPERATURE: 30.5, CLOCK: 1_900_000_000}) == ACK
        assert daemon.store.values(one.endpoint, TEMPERATURE)[-1] == 30.5


async def test_a_composite_observation_outlives_a_kill(own: Daemon) -> None:
    """The same token: its notifications are taken, and nothing is asked anew."""
    async with client(own, "lasting") as one:
        await wish(own, one)
        own.program.kill()
        own.start()
        assert await one.report({TEMPERATURE: 31.5, CLOCK: 1_900_000_001}) == ACK
        assert own.store.values(one.endpoint, TEMPERATURE)[-1] == 31.5
        assert own.store.values(one.endpoint, CLOCK)[-1] == 1_900_000_001
        await one.update()
        assert (await ask(own, one, READ))["status"] == "CONFIRMED"
        assert not [f for f in one.asked if f.number(OBSERVE) is not None]
        # Ended passively it is reset, once, and not begun again.
        address = f"{at(one)}/observations?wait=20&passive&path={CLOCK}&path={TEMPERATURE}"
        ended = await asyncio.to_thread(own.api, address, method="DELETE")
        assert (ended["status"], ended["code"]) == ("CONFIRMED", "")
        assert await one.report({TEMPERATURE: 99.5, CLOCK: 1_900_000_002}) == RST
        assert own.store.values(one.endpoint, TEMPERATURE)[-1] == 31.5
        one.composites.clear()
        await ready(own, one)
        assert not one.composites


@pytest.mark.parametrize("kind", [CON, NON])
async def test_a_separate_answer_counts_once(daemon: Daemon, kind: int) -> None:
    """Acknowledged first, answered later (RFC 7252 5.2.2); what comes again changes nothing."""
    async with client(daemon, f"separate{kind}") as one:
        await ready(daemon, one)
        held: list[Frame] = []

        def hold(request: Frame) -> bool:
            one.peer.acknowledge(request)
            held.append(request)
            return True

        one.strange = hold
        asked = await ask(daemon, one, READ, 0)
        await until(lambda: bool(held))
        named: dict[str, Any] = {"content_format": SENML_CBOR, "kind": kind, "mid": 0x7777}
        for value in (61, 61, 62):
            one.peer.notify(held[0].token, None, senml({BATTERY: value}), **named)
            named["mid"] += value - 61
        stood = await state(daemon, asked)
        assert (stood["status"], stood["attempts"]) == ("CONFIRMED", 1)
        assert [each["value"] for each in stood["values"]] == [61]
        assert len(held) == 1
        one.strange = None
        assert (await ask(daemon, one, EXECUTE))["status"] == "CONFIRMED"


@pytest.mark.parametrize("elsewhere", [False, True])
async def test_a_register_ends_what_was_asked_before_it(daemon: Daemon, elsewhere: bool) -> None:
    """A device that crashed knows nothing of a request: repeated, an Execute would happen twice."""
    name = f"crashed{elsewhere:d}"
    async with client(daemon, name) as old, client(daemon, name) as new:
        again = new if elsewhere else old
        for body, code, status, attempts in (
            (EXECUTE, POST, "FAILED", 1),
            (write("UTC"), PUT, "CONFIRMED", 2),
        ):
            await ready(daemon, old)
            old.mute = True
            old.asked.clear()
            asked, after = await ask(daemon, old, body, 0), await ask(daemon, old, READ, 0)
            await until(lambda code=code: any(frame.code == code for frame in old.asked))  # type: ignore[misc]
            old.mute = False
            await again.register()
            stood = await state(daemon, asked)
            assert (stood["status"], stood["attempts"]) == (status, attempts)
            assert (await state(daemon, after))["status"] == "CONFIRMED"
            assert [path for path, _ in again.executed] == []
