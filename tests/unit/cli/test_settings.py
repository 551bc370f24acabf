"""`flownexus settings`, `restart` and `log`."""

from typing import Any

import pytest

from flownexus_appliance.cli import log, settings

from .scripted import NOW_MS, Problem, Request, Terminal


def item(section: str, name: str, value: object, kind: str, **changes: Any) -> dict[str, Any]:
    found = {
        "section": section,
        "name": name,
        "value": value,
        "in_use": value,
        "base": value,
        "default": value,
        "unit": "",
        "help": "what it is",
        "origin": "default",
        "kind": kind,
        "choices": [],
        "problem": "",
    }
    return found | changes


PORT = item("http", "port", 9443, "number", origin="file")
LEVEL = item("log", "level", "debug", "choice", in_use="info", origin="page")
NETWORKS = item("coap", "networks", ["127.0.0.0/8", "::1/128"], "lines")
WINDOW = item("fleet", "awake_window_s", 93.5, "number", unit="s")
SWITCH = item("some", "switch", True, "switch")
ALL = [NETWORKS, PORT, WINDOW, LEVEL, SWITCH]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "LOOK_S", 0.0)
    monkeypatch.setattr(log, "LOOK_S", 0.0)


def listing(*items: dict[str, Any], needed: bool = False) -> dict[str, Any]:
    return {"items": list(items), "restart_needed": needed, "problems": []}


def test_settings_are_listed(terminal: Terminal) -> None:
    told = listing(*ALL, needed=True) | {"problems": ["log.level: settings.toml has loud\n"]}
    terminal.daemon.answers["GET /settings"] = told
    said = terminal.run("settings", "list")
    assert ["http.port", "9443", "file"] in said.rows
    assert ["coap.networks", "127.0.0.0/8 ::1/128", "default"] in said.rows
    assert ["log.level", "debug", "page", "info"] in said.rows
    assert said.out.splitlines()[-1] == "Not in use: log.level: settings.toml has loud?."
    changed = terminal.run("settings", "list", "--changed", "--json").data
    assert [one["name"] for one in changed["items"]] == ["port", "level"]


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (["log.level", "info"], {"log.level": "info"}),
        (["http.port", "8080"], {"http.port": 8080}),
        (["fleet.awake_window_s", "20.5"], {"fleet.awake_window_s": 20.5}),
        (["coap.networks", "10.0.0.0/8", "::1/128"], {"coap.networks": ["10.0.0.0/8", "::1/128"]}),
        (["coap.networks", ""], {"coap.networks": []}),
        (["some.switch", "off"], {"some.switch": False}),
        (["no.such", "1"], {"no.such": "1"}),
    ],
)
def test_a_value_goes_as_its_setting_has_it(
    terminal: Terminal, words: list[str], sent: dict[str, object]
) -> None:
    terminal.daemon.answers["GET /settings"] = listing(*ALL)
    terminal.daemon.answers["PATCH /settings"] = Problem(400, "setting_invalid")
    assert terminal.run("settings", "set", *words).code == 1
    assert terminal.daemon.asked[-1].body == {"settings": sent}


@pytest.mark.parametrize("words", [["http.port", "many"], ["log.level", "info", "debug"]])
def test_a_value_that_cannot_be_is_not_sent(terminal: Terminal, words: list[str]) -> None:
    terminal.daemon.answers["GET /settings"] = listing(*ALL)
    said = terminal.run("settings", "set", *words)
    assert (said.code, said.out) == (2, "")
    assert [request.method for request in terminal.daemon.asked] == ["GET"]


def test_what_is_set_waits_for_a_restart(terminal: Terminal) -> None:
    terminal.daemon.answers["GET /settings"] = listing(LEVEL)
    terminal.daemon.answers["PATCH /settings"] = listing(LEVEL, needed=True)
    assert terminal.run("settings", "set", "log.level", "debug").out.splitlines() == [
        "log.level is debug from the next start on.",
        "flownexus restart has the daemon start anew.",
    ]
    back = LEVEL | {"value": "info"}
    terminal.daemon.answers["PATCH /settings"] = listing(back)
    assert terminal.run("settings", "unset", "log.level").out == "log.level is info.\n"
    assert terminal.daemon.asked[-1].body == {"settings": {"log.level": None}}


def test_a_restart_is_waited_for(terminal: Terminal) -> None:
    looks = iter([5, None, 9])

    def system(_: Request) -> object:
        started = next(looks)
        return Problem(503, "away") if started is None else {"vitals": {"started_ms": started}}

    terminal.daemon.answers |= {"POST /restart": {"started_ms": 5}, "GET /system": system}
    said = terminal.run("restart")
    assert (said.code, said.out) == (0, "The daemon has started anew.\n")
    assert len(terminal.daemon.of("GET", "/system")) == 3


def test_a_restart_need_not_be_waited_for(terminal: Terminal) -> None:
    terminal.daemon.answers["POST /restart"] = {"started_ms": 5}
    assert terminal.run("restart", "--wait", "0").out == "The daemon is about to start anew.\n"
    assert terminal.run("restart", "--wait", "0", "--json").data == {"started_ms": 5}
    terminal.daemon.answers["POST /restart"] = Problem(409, "config_invalid")
    assert terminal.run("restart").code == 1


def line(number: int, message: str, **changes: Any) -> dict[str, Any]:
    found = {
        "number": number,
        "time_ms": NOW_MS + number * 1000,
        "level": "info",
        "logger": "fleet.intake",
        "message": message,
        "fields": {},
        "trace": [],
    }
    return found | changes


def test_the_log_is_told_with_the_newest_last(terminal: Terminal) -> None:
    failed = line(2, "failed", level="error", trace=["Traceback:", "  ValueError: \x1b[2J"])
    items = [failed, line(1, "registered", fields={"ENDPOINT": "kitchen\x1b"})]
    terminal.daemon.answers["GET /log"] = {"items": items, "next": None, "last": 2}
    said = terminal.run("log", "--level", "info", "--search", "e", "--limit", "2")
    told = [text[20:] for text in said.out.splitlines()]
    assert told == ["info registered endpoint=kitchen?", "error failed", "", ""]
    assert "  Traceback:" in said.out.splitlines()
    assert "\x1b" not in said.out
    assert terminal.daemon.asked[0].query == {"level": ["info"], "q": ["e"], "limit": ["2"]}
    assert terminal.run("log", "--json").data == items
    with pytest.raises(SystemExit, match="2"):
        terminal.run("log", "--limit", "0")


def test_the_log_is_followed_over_a_restart(terminal: Terminal) -> None:
    answers = iter(
        [
            {"items": [line(7, "first")], "next": None, "last": 7},
            {"items": [line(8, "second")], "next": None, "last": 8},
            Problem(503, "daemon_away"),
        ]
    )
    terminal.daemon.answers["GET /log"] = lambda _: next(answers)
    said = terminal.run("log", "--follow")
    assert [text.split()[-1] for text in said.out.splitlines()] == ["first", "second"]
    assert [request.query.get("since") for request in terminal.daemon.asked] == [None, ["7"], ["8"]]
    answers = iter(
        [
            {"items": [line(7, "before")], "next": None, "last": 7},
            {"items": [], "next": None, "last": 2},
            {"items": [line(2, "after")], "next": None, "last": 2},
            Problem(503, "enough"),
        ]
    )
    assert [text.split()[-1] for text in terminal.run("log", "--follow").out.splitlines()] == [
        "before",
        "after",
    ]
