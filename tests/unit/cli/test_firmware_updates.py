"""`flownexus firmware update` and what belongs to it: giving, waiting, cancelling, doing it again."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flownexus_appliance.cli import updates
from flownexus_appliance.cli.output import moment
from flownexus_appliance.lwm2m.firmware import UpdateState

from .scripted import KITCHEN, NOW_MS, Problem, Raw, Request, Terminal
from .test_firmware import Screen, listed, package


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Nobody waits in a test: what is slept is added up."""
    slept: list[float] = []
    time = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(updates, "time", time)
    return slept


def update(state: str = "WAITING", number: int = 17, **changes: Any) -> dict[str, Any]:
    """An update of KITCHEN as the API tells it."""
    told = {
        "id": number,
        "endpoint": KITCHEN,
        "label": "",
        "firmware": 3,
        "version": "1.2.3",
        "campaign": None,
        "instance": "/5/0",
        "wanted": None,
        "delivery": "coaps",
        "tried": [],
        "state": state,
        "result": None,
        "result_text": "",
        "reason": "",
        "detail": "",
        "message": "",
        "hint": "",
        "bytes": 512,
        "size": 2048,
        "percent": 25,
        "attempts": 1,
        "from_version": "1.1.0",
        "asked_by": "console",
        "created_ms": NOW_MS,
        "started_ms": NOW_MS,
        "changed_ms": NOW_MS,
        "ended_ms": None,
        "steps": [],
    }
    return told | changes


def step(number: int, state: str, detail: str = "", **changes: Any) -> dict[str, Any]:
    told = {
        "number": number,
        "time_ms": NOW_MS,
        "state": state,
        "reason": "",
        "message": "",
        "detail": detail,
    }
    return told | changes


WAY = [step(1, "PREPARING"), step(2, "DOWNLOADING", "coaps"), step(3, "SUCCEEDED")]


# What is left of an answer when the daemon goes down.
CUT = Raw((b"{",), whole=False)


def answering(*told: object) -> Callable[[Request], object]:
    """One answer after another, the last one again and again."""
    left = list(told)

    def answer(_: Request) -> object:
        return left.pop(0) if len(left) > 1 else left[0]

    return answer


@pytest.fixture
def asked(terminal: Terminal) -> Terminal:
    """A terminal on a daemon that has a package, and begins update 17 of KITCHEN."""
    listed(terminal, package(3))
    terminal.daemon.answers[f"POST /endpoints/{KITCHEN}/updates"] = update()
    terminal.daemon.answers["POST /updates/9/retry"] = update()
    return terminal


def test_an_update_is_begun(asked: Terminal) -> None:
    said = asked.run("firmware", "update", KITCHEN, "--firmware", "1.2.3")
    assert said.code == 0
    assert "Update 17 of kitchen to 1.2.3 is begun." in said.out
    assert "flownexus firmware wait 17" in said.out
    path = f"/endpoints/{KITCHEN}/updates"
    assert asked.daemon.of("POST", path)[-1].body == {"firmware": 3}
    words = ("--delivery", "push", "--instance", "33629/1", "--anyway", "--json")
    assert asked.run("firmware", "update", KITCHEN, "--firmware", "3", *words).data == update()
    assert asked.daemon.of("POST", path)[-1].body == {
        "firmware": 3,
        "delivery": "push",
        "instance": "33629/1",
        "anyway": True,
    }
    assert asked.daemon.of("GET", "/updates/17") == [], "nobody waits"


def test_what_the_daemon_refuses_is_told(asked: Terminal) -> None:
    asked.daemon.answers[f"POST /endpoints/{KITCHEN}/updates"] = Problem(409, "firmware_not_for")
    assert asked.run("firmware", "update", KITCHEN, "--firmware", "3").code == 1
    said = asked.run("firmware", "update", KITCHEN, "--firmware", "7")
    assert said.code == 1
    assert "no package 7" in said.err


def test_words_are_checked(asked: Terminal) -> None:
    for words in (
        ("update", KITCHEN),
        ("update", KITCHEN, "--firmware", "3", "--delivery", "pigeon"),
        ("update", KITCHEN, "--firmware", "3", "--wait", "-1"),
        ("updates", "--status", "late"),
        ("status", "x"),
    ):
        with pytest.raises(SystemExit) as caught:
            asked.run("firmware", *words)
        assert caught.value.code == 2
    assert asked.daemon.asked == []


@pytest.mark.parametrize(
    "words", [("update", KITCHEN, "--firmware", "3", "--wait"), ("retry", "9", "--wait")]
)
def test_each_step_is_shown_until_it_has_ended(asked: Terminal, words: tuple[str, ...]) -> None:
    asked.daemon.answers["GET /updates/17"] = answering(
        update("PREPARING", steps=WAY[:1]),
        update("PREPARING", steps=WAY[:1]),
        update("DOWNLOADING", steps=WAY[:2]),
        update("SUCCEEDED", steps=WAY),
    )
    said = asked.run("firmware", *words)
    assert (said.code, said.err) == (0, "")
    when = moment(NOW_MS, seconds=True)
    assert said.rows == [
        [when, "PREPARING"],
        [when, "DOWNLOADING", "coaps"],
        [when, "SUCCEEDED"],
        ["kitchen runs 1.2.3."],
    ]


def test_waiting_in_json_says_how_it_ended(asked: Terminal) -> None:
    ended = update("SUCCEEDED", steps=WAY)
    asked.daemon.answers["GET /updates/17"] = answering(update(), ended)
    assert asked.run("firmware", "wait", "17", "--json").data == ended


@pytest.mark.parametrize(
    ("state", "code", "hint"),
    [
        ("FAILED", 1, "look at it"),
        ("REVERTED", 1, "look at it"),
        ("CANCELLED", 4, "do it again: flownexus firmware retry 17"),
        ("UPDATING", 3, "flownexus firmware wait 17"),
    ],
)
def test_the_exit_code_tells_how_it_ended(
    asked: Terminal, clock: list[float], state: str, code: int, hint: str
) -> None:
    asked.daemon.answers["GET /updates/17"] = update(state, message="it did not start", hint="look at it")
    said = asked.run("firmware", "update", KITCHEN, "--firmware", "3", "--wait", "60")
    assert said.code == code
    assert sum(clock) == (60 if code == 3 else 0)
    assert hint in said.err
    assert ("it did not start" in said.err) == (code == 1)
    assert asked.run("firmware", "wait", "17", "--wait", "0", "--json").data["state"] == state


def test_every_end_has_an_exit_code(asked: Terminal) -> None:
    codes = {}
    for state in UpdateState:
        asked.daemon.answers["GET /updates/17"] = update(state)
        codes[state.value] = asked.run("firmware", "wait", "17", "--wait", "0").code
    assert codes == {
        "WAITING": 3,
        "PREPARING": 3,
        "DOWNLOADING": 3,
        "DOWNLOADED": 3,
        "UPDATING": 3,
        "SUCCEEDED": 0,
        "FAILED": 1,
        "REVERTED": 1,
        "CANCELLED": 4,
    }


def test_a_hint_is_given_where_the_daemon_has_none(asked: Terminal) -> None:
    asked.daemon.answers["GET /updates/17"] = update("FAILED", message="no word of it")
    assert "flownexus firmware retry 17" in asked.run("firmware", "wait", "17").err


def test_a_restart_of_the_daemon_ends_no_waiting(asked: Terminal) -> None:
    asked.daemon.answers["GET /updates/17"] = answering(
        update("DOWNLOADING", steps=WAY[:2]), CUT, CUT, update("SUCCEEDED", steps=WAY)
    )
    said = asked.run("firmware", "wait", "17")
    assert (said.code, said.err) == (0, "")
    assert len(said.rows) == 4, "each step is told once"


def test_a_daemon_that_stays_away_ends_it(asked: Terminal, clock: list[float]) -> None:
    asked.daemon.answers["GET /updates/17"] = answering(update("DOWNLOADING"), CUT)
    said = asked.run("firmware", "update", KITCHEN, "--firmware", "3", "--wait")
    assert said.code == 2
    assert "update 17 goes on; wait again: flownexus firmware wait 17" in said.err
    assert "did not answer" in said.err
    assert updates.AWAY_S <= sum(clock) <= updates.AWAY_S + 2


def test_an_update_that_is_forgotten_meanwhile(asked: Terminal) -> None:
    asked.daemon.answers["GET /updates/17"] = answering(update(), update(), Problem(404, "update_unknown"))
    said = asked.run("firmware", "wait", "17", "--json")
    assert said.code == 1
    assert "update_unknown" in said.err
    assert "goes on" not in said.err


def test_ctrl_c_ends_the_waiting_alone(asked: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    time = SimpleNamespace(monotonic=lambda: 0.0, sleep=interrupt)
    monkeypatch.setattr(updates, "time", time)
    asked.daemon.answers["GET /updates/17"] = update("DOWNLOADING")
    said = asked.run("firmware", "wait", "17")
    assert said.code == 130
    assert "update 17 goes on" in said.err
    assert asked.run("firmware", "wait", "17", "--json").err == ""


def test_progress_is_shown_on_a_terminal(asked: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    asked.daemon.answers["GET /updates/17"] = answering(
        update("PREPARING"), update("DOWNLOADING", bytes=1024), update("SUCCEEDED", steps=WAY)
    )
    monkeypatch.setattr(sys, "stderr", screen)
    assert asked.run("firmware", "wait", "17").code == 0
    shown = screen.look()
    assert f"kitchen  {'#' * 15}{'.' * 15}  50 % of 2.0 KiB" in shown
    assert shown[-1] == "", "the line is taken away"


def test_updates_are_listed(asked: Terminal) -> None:
    items = [
        update("DOWNLOADING", 18, detail="1.2.3"),
        update("REVERTED", 17, delivery=None, message="It came back.", detail="1.1.0", bytes=2048),
        update("FAILED", 16, reason="result", message="It says: no.", detail="8", result=8, bytes=0),
    ]
    asked.daemon.answers["GET /updates"] = {"items": items, "next": None}
    begun = moment(NOW_MS)
    assert asked.run("firmware", "updates").rows == [
        ["ID", "DEVICE", "VERSION", "STATE", "BY", "HAS", "ASKED", "WHY"],
        ["18", KITCHEN, "1.2.3", "DOWNLOADING", "coaps", "25 % of 2.0 KiB", begun],
        ["17", KITCHEN, "1.2.3", "REVERTED", "-", "100 % of 2.0 KiB", begun, "It came back: 1.1.0"],
        ["16", KITCHEN, "1.2.3", "FAILED", "coaps", "0 % of 2.0 KiB", begun, "It says: no."],
    ]
    assert asked.run("firmware", "updates", "--json").data == items
    words = ("--endpoint", KITCHEN, "--firmware", "1.2.3", "--campaign", "4", "--status", "failed")
    asked.run("firmware", "updates", *words, "--search", "x", "--limit", "0")
    asked.run("firmware", "updates", "--status", "unsuccessful")
    first, _, last, grouped = asked.daemon.of("GET", "/updates")
    assert first.query == {"limit": ["50"]}
    assert grouped.query == {"state": ["unsuccessful"], "limit": ["50"]}
    assert last.query == {
        "endpoint": [KITCHEN],
        "firmware": ["3"],
        "campaign": ["4"],
        "state": ["FAILED"],
        "q": ["x"],
        "limit": ["500"],
    }


def test_everything_about_an_update(asked: Terminal) -> None:
    told = update(
        "FAILED",
        message="why",
        detail="4.05",
        hint="what to do",
        campaign=4,
        steps=WAY,
        ended_ms=NOW_MS + 1000,
    )
    asked.daemon.answers["GET /updates/17"] = told
    said = asked.run("firmware", "status", "17")
    fields = dict(row for row in said.rows if len(row) == 2)
    assert fields["Firmware"] == "3, version 1.2.3"
    assert fields["Campaign"] == "4"
    assert fields["Why"] == "why: 4.05"
    assert fields["Hint"] == "what to do"
    assert fields["Ended"] == moment(NOW_MS + 1000, seconds=True)
    assert ["WHEN", "STATE", "WHY"] in said.rows
    assert [moment(NOW_MS, seconds=True), "DOWNLOADING", "coaps"] in said.rows
    assert asked.run("firmware", "status", "17", "--json").data == told
    asked.daemon.answers["GET /updates/17"] = update(steps=[])
    assert "Ended" not in asked.run("firmware", "status", "17").out


def test_an_update_is_cancelled(asked: Terminal) -> None:
    asked.daemon.answers["DELETE /updates/17"] = update("CANCELLED")
    assert asked.run("firmware", "cancel", "17").out == "Update 17 of kitchen is cancelled.\n"
    assert asked.run("firmware", "cancel", "17", "--json").data == update("CANCELLED")
    asked.daemon.answers["DELETE /updates/17"] = Problem(409, "update_installing")
    assert asked.run("firmware", "cancel", "17").code == 1


def test_what_a_device_tells_is_printed_harmlessly(asked: Terminal) -> None:
    asked.daemon.answers["GET /updates/17"] = update(
        "FAILED",
        message="\x1b[31mred",
        version="\x07",
        steps=[step(1, "FAILED", "\x1b[31mred", message="\x1b!")],
    )
    for words in (("wait", "17"), ("status", "17")):
        said = asked.run("firmware", *words)
        assert "\x1b" not in said.out + said.err
        assert "\x07" not in said.out + said.err
