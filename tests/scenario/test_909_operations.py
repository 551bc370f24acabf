"""Operations that wait for their device, and a daemon that is killed (SIGKILL) at every state of one.

What may not happen twice happens at most once: a device that was sent an Execute before the daemon died is
not sent it again, whatever it did with the first.
"""

import asyncio
import random
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.interop.daemon import Daemon
from tests.peer import POST, PUT, Frame, until

from .thermometer import WATCHED, Thermometer, ready, thermometer

NAME = "lasting"
TIMEZONE = "/3/0/15"
REBOOT = "/3/0/4"
CLEAR = "/3/0/12"
WRITE: Mapping[str, Any] = {"operation": "write", "path": TIMEZONE, "value": "Europe/Berlin"}
READ: Mapping[str, Any] = {"operation": "read", "path": "/3/0/9"}
EXECUTE: Mapping[str, Any] = {"operation": "execute", "path": CLEAR}
CREATE: Mapping[str, Any] = {"operation": "create", "path": "/3303", "values": {"5700": 1.5}}
KILLS = 8


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    started = Daemon(tmp_path)
    try:
        started.start()
        yield started
        started.stop()
    finally:
        started.program.end()


def ask(daemon: Daemon, body: Mapping[str, Any], wait: int = 0, name: str = NAME) -> Any:
    return daemon.api(f"/endpoints/{urllib.parse.quote(name, safe='')}/operations?wait={wait}", body)


def operation(daemon: Daemon, number: int, wait: int = 0) -> Any:
    return daemon.api(f"/operations/{number}?wait={wait}")


def restart(daemon: Daemon) -> None:
    daemon.program.kill()
    daemon.start()


async def asleep(daemon: Daemon, client: Thermometer) -> None:
    """Register in Queue Mode, be got to know, and wait until the awake window is over."""
    await client.register("Q")
    await until(lambda: daemon.store.reporting(client.endpoint) == WATCHED)
    await until(lambda: daemon.store.values(client.endpoint, "/3303/0/5701") == ["Cel"])
    daemon.api(f"/endpoints/{client.endpoint}", {"awake_window_s": 1}, method="PATCH")
    await until(lambda: daemon.endpoint(client.endpoint)["state"] == "sleeping")
    client.asked.clear()


async def done(daemon: Daemon, number: int) -> Any:
    """The operation when it is done, the client being served meanwhile."""
    state = await asyncio.to_thread(operation, daemon, number, 30)
    assert state["status"] not in ("QUEUED", "SENDING"), state
    return state


async def asked_for(client: Thermometer, code: int, path: str) -> Frame:
    """The request when it has come."""
    await until(lambda: any((f.code, f.path) == (code, path) for f in client.asked))
    return next(f for f in client.asked if (f.code, f.path) == (code, path))


async def test_what_waits_outlives_a_kill_and_goes_out_in_order(daemon: Daemon) -> None:
    async with thermometer(daemon.coap_port, NAME) as client:
        await asleep(daemon, client)
        asked = [ask(daemon, body) for body in (WRITE, READ, EXECUTE)]
        assert [one["status"] for one in asked] == ["QUEUED"] * 3
        assert not client.asked
        restart(daemon)
        assert [operation(daemon, one["id"])["status"] for one in asked] == ["QUEUED"] * 3
        assert not client.asked
        await client.update()
        ended = [await done(daemon, one["id"]) for one in asked]
        assert [one["status"] for one in ended] == ["CONFIRMED"] * 3
        assert [one["attempts"] for one in ended] == [1, 1, 1]
        sent = [f.path for f in client.asked if f.path in (TIMEZONE, "/3/0/9", CLEAR)]
        assert sent == [TIMEZONE, "/3/0/9", CLEAR]
        assert client.values[TIMEZONE] == "Europe/Berlin"


@pytest.mark.parametrize(("body", "code", "path"), [(WRITE, PUT, TIMEZONE), (READ, 1, "/3/0/9")])
async def test_what_was_being_sent_is_sent_again(
    daemon: Daemon, body: Mapping[str, Any], code: int, path: str
) -> None:
    async with thermometer(daemon.coap_port, NAME) as client:
        await ready(daemon, client)
        client.mute = True
        number = ask(daemon, body)["id"]
        await asked_for(client, code, path)
        assert operation(daemon, number)["status"] == "SENDING"
        client.asked.clear()
        client.mute = False
        restart(daemon)
        await client.update()
        state = await done(daemon, number)
        assert (state["status"], state["attempts"]) == ("CONFIRMED", 2)
        assert [one["number"] for one in state["attempts_made"]] == [1, 2], "the one that broke off is kept"
        await asked_for(client, code, path)


@pytest.mark.parametrize(("body", "path"), [(EXECUTE, CLEAR), (CREATE, "/3303")])
async def test_what_may_have_happened_is_not_done_again(
    daemon: Daemon, body: Mapping[str, Any], path: str
) -> None:
    async with thermometer(daemon.coap_port, NAME) as client:
        await ready(daemon, client)
        client.mute = True
        number = ask(daemon, body)["id"]
        await asked_for(client, POST, path)
        client.asked.clear()
        client.mute = False
        restart(daemon)
        state = operation(daemon, number)
        assert (state["status"], state["code"]) == ("FAILED", "")
        assert "nobody knows" in state["message"]
        assert state["hint"]
        await client.update()
        # It is the operator's to say so.
        assert (await done(daemon, ask(daemon, READ)["id"]))["status"] == "CONFIRMED"
        assert not [f for f in client.asked if f.path == path]
        again = daemon.api(f"/operations/{number}/retry?wait=0", {})
        assert again["retry_of"] == number
        await asked_for(client, POST, path)
        await done(daemon, again["id"])


async def test_what_is_done_stays_as_it_ended(daemon: Daemon) -> None:
    async with thermometer(daemon.coap_port, NAME) as client:
        await ready(daemon, client)
        confirmed = await asyncio.to_thread(ask, daemon, READ, 30)
        assert confirmed["status"] == "CONFIRMED"
        refused = await asyncio.to_thread(
            ask, daemon, {"operation": "delete", "path": "/3303/0"}, 30
        )  # by hand it knows no Delete
        assert (refused["status"], refused["code"]) == ("FAILED", "4.05")
        client.mute = True
        under_way = ask(daemon, WRITE)["id"]
        await asked_for(client, PUT, TIMEZONE)
        expired = ask(daemon, {**READ, "deadline_s": 1})["id"]
        unwanted = ask(daemon, READ)["id"]
        assert daemon.api(f"/operations/{unwanted}", method="DELETE")["status"] == "CANCELLED"
        await until(lambda: operation(daemon, expired)["status"] == "EXPIRED")
        assert daemon.api(f"/operations/{under_way}", method="DELETE")["status"] == "CANCELLED"
        numbers = (confirmed["id"], refused["id"], expired, unwanted, under_way)
        before = [operation(daemon, number) for number in numbers]
        assert [one["status"] for one in before] == [
            "CONFIRMED",
            "FAILED",
            "EXPIRED",
            "CANCELLED",
            "CANCELLED",
        ]
        restart(daemon)
        assert [operation(daemon, number) for number in numbers] == before
        client.mute = False
        client.asked.clear()
        await client.update()
        assert (await done(daemon, ask(daemon, EXECUTE)["id"]))["status"] == "CONFIRMED"
        assert [f.path for f in client.asked if f.path in (TIMEZONE, "/3/0/9", CLEAR)] == [CLEAR]


async def test_kills_at_any_moment(daemon: Daemon) -> None:
    """What was asked for is never lost, and no Execute ever comes twice."""
    chance = random.Random()
    async with thermometer(daemon.coap_port, NAME) as client:
        await ready(daemon, client)
        taken: dict[int, str] = {}
        digits = iter(range(10_000))
        for _ in range(KILLS):
            for _ in range(chance.randint(1, 6)):
                text = f"0='{next(digits)}'"
                taken[ask(daemon, {**EXECUTE, "arguments": text})["id"]] = text
                taken[ask(daemon, WRITE)["id"]] = ""
            wanted = len(client.asked) + chance.randint(0, 8)
            reached = asyncio.create_task(until(lambda wanted=wanted: len(client.asked) >= wanted))  # type: ignore[misc]
            await asyncio.wait({reached}, timeout=chance.random())
            reached.cancel()
            restart(daemon)
            assert (await client.update()).status == "2.04"
        ended = {number: await done(daemon, number) for number in taken}
        came = [payload.decode() for path, payload in client.executed if path == CLEAR]
        assert len(came) == len(set(came)), "an Execute came twice"
        for number, text in taken.items():
            state = ended[number]
            if not text:
                assert state["status"] == "CONFIRMED", state
            elif state["status"] == "CONFIRMED":
                assert text in came
            else:
                assert state["status"] == "FAILED", state
                assert "nobody knows" in state["message"]
        assert [text for text in taken.values() if text in came] == came, "in the order of their asking"
