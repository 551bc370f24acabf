"""`flownexus observe`, `attributes` and `observations`: what is asked for, and values as they come."""

import json
from typing import Any

import pytest

from flownexus_appliance.cli.output import moment

from .scripted import KITCHEN, NOW_MS, Problem, Raw, Terminal, operation, value

OBSERVATIONS = f"/endpoints/{KITCHEN}/observations"
PATH = "/3303/0/5700"


def observed(number: int = 17, status: str = "CONFIRMED", **changes: Any) -> dict[str, Any]:
    return operation(number, status, **({"operation": "observe", "paths": [PATH]} | changes))


def accept(terminal: Terminal, *states: dict[str, Any]) -> None:
    terminal.daemon.answers[f"POST {OBSERVATIONS}"] = {"operations": list(states or [observed()])}


def asked(terminal: Terminal) -> list[Any]:
    return [request.body for request in terminal.daemon.of("POST", OBSERVATIONS)]


def event(name: str, data: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(data).encode())


def values(*found: dict[str, Any]) -> bytes:
    return event("values", {"endpoint": KITCHEN, "received_ms": NOW_MS, "values": list(found)})


def ended(number: int, status: str, **changes: Any) -> bytes:
    return event("operation", {"id": number, "endpoint": KITCHEN, "status": status} | changes)


def streams(terminal: Terminal, *events: bytes) -> None:
    """Let the stream tell these, and break off."""
    terminal.daemon.answers["GET /stream"] = Raw((b"retry: 2000\n\n", *events), whole=False)


def test_an_observation_with_its_attributes(terminal: Terminal) -> None:
    accept(terminal, observed(values=[value(PATH, 21.5)]))
    said = terminal.run("observe", KITCHEN, PATH)
    assert (said.code, said.rows[1][:2]) == (0, [PATH, "21.5"])
    words = ("--pmin", "10", "--pmax", "60", "--gt", "-5", "--lt=-8.5", "--st", "0.5", "--deadline", "60")
    terminal.run("observe", KITCHEN, PATH, *words)
    terminal.run("observe", KITCHEN, PATH, "/3/0/9", "--composite", "--epmin", "1", "--epmax", "2")
    attributes = {"pmin": "10", "pmax": "60", "gt": "-5", "lt": "-8.5", "st": "0.5"}
    assert asked(terminal) == [
        {"paths": [PATH], "composite": False},
        {"paths": [PATH], "composite": False, "attributes": attributes, "deadline_s": 60},
        {"paths": [PATH, "/3/0/9"], "composite": True, "attributes": {"epmin": "1", "epmax": "2"}},
    ]


def test_json_has_all_operations(terminal: Terminal) -> None:
    states = [observed(16, operation="write_attributes"), observed(17, "FAILED", code="4.05")]
    accept(terminal, *states)
    said = terminal.run("observe", KITCHEN, PATH, "--pmin", "1", "--json")
    assert (said.code, said.data) == (1, {"operations": states})


def test_each_observation_is_cancelled_by_itself_and_a_composite_one_as_a_whole(terminal: Terminal) -> None:
    terminal.daemon.answers[f"DELETE {OBSERVATIONS}"] = observed(operation="cancel")
    assert terminal.run("observe", KITCHEN, PATH, "/3/0/9", "--cancel").code == 0
    assert terminal.run("observe", KITCHEN, PATH, "/3/0/9", "--cancel", "--composite", "--passive").code == 0
    assert [request.query for request in terminal.daemon.of("DELETE", OBSERVATIONS)] == [
        {"path": [PATH]},
        {"path": ["/3/0/9"]},
        {"path": [PATH, "/3/0/9"], "passive": ["1"]},
    ]


@pytest.mark.parametrize(
    "words",
    [["--passive"], ["--cancel", "--pmin", "1"], ["--cancel", "--follow"], ["--cancel", "--deadline", "5"]],
)
def test_options_that_do_not_go_together(terminal: Terminal, words: list[str]) -> None:
    said = terminal.run("observe", KITCHEN, PATH, *words)
    assert said.code == 2
    assert "hint: " in said.err
    assert terminal.daemon.asked == []


def test_values_are_printed_as_they_come(terminal: Terminal) -> None:
    accept(terminal)
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}/resources"] = {
        "items": [{"path": PATH, "name": "Sensor Value", "units": "Cel"}]
    }
    streams(
        terminal,
        values(value(PATH, 21.5, time_ms=NOW_MS), value("/3/0/9", 87, time_ms=NOW_MS)),
        event("counts", {"online": 1}),
        b": heartbeat\nid: 7\n\n",
        event("reset", {}),
        values(value("/3303/0/5701", "\x1bCel", "string", NOW_MS)),
    )
    said = terminal.run("observe", KITCHEN, "/3303", "--follow")
    at = moment(NOW_MS, seconds=True)
    assert said.out == f"{at}  {PATH}  Sensor Value  21.5 Cel\n{at}  /3303/0/5701    ?Cel\n"
    missed, broken = said.err.splitlines()[:2]
    assert missed == "some values were missed here"
    assert "did not answer" in broken
    assert said.code == 2
    (request,) = terminal.daemon.of("GET", "/stream")
    assert request.query == {"endpoint": [KITCHEN]}
    order = [(one.method, one.path) for one in terminal.daemon.asked]
    assert order.index(("GET", "/stream")) < order.index(("POST", OBSERVATIONS))


def test_values_are_lines_of_json(terminal: Terminal) -> None:
    accept(terminal)
    one = value(PATH, 21.5, time_ms=NOW_MS)
    streams(terminal, values(one, value("/3/0/9", 87, time_ms=NOW_MS)), values(value("/3/0/9", 1, time_ms=0)))
    said = terminal.run("observe", KITCHEN, PATH, "--follow", "--json")
    assert said.data == {"endpoint": KITCHEN, "received_ms": NOW_MS, "values": [one]}


def test_nothing_is_followed_that_the_device_refused(terminal: Terminal) -> None:
    accept(terminal, observed(16, operation="write_attributes"), observed(status="FAILED", code="4.04"))
    streams(terminal)
    said = terminal.run("observe", KITCHEN, PATH, "--pmin", "1", "--follow")
    assert said.code == 1
    assert said.err.startswith("flownexus: kitchen did not do the observe of /3303/0/5700: 4.04\n")


def test_what_a_sleeping_device_says_later_is_followed_too(terminal: Terminal) -> None:
    waiting = [observed(16, "QUEUED", operation="write_attributes"), observed(17, "QUEUED")]
    accept(terminal, *waiting)
    left = [waiting[0], observed(16, "FAILED", code="4.00"), observed(17, "EXPIRED")]
    terminal.daemon.answers["GET /operations/16"] = lambda _: left.pop(0)
    terminal.daemon.answers["GET /operations/17"] = lambda _: left.pop(0)
    moves = [ended(99, "FAILED"), ended(17, "SENDING"), *[ended(16, "FAILED")] * 2, ended(17, "EXPIRED")]
    streams(terminal, *moves, values(value(PATH, 1.0, time_ms=NOW_MS)))
    said = terminal.run("observe", KITCHEN, PATH, "--pmin", "1", "--follow")
    assert (said.code, said.out) == (1, "")
    told = said.err.splitlines()
    assert told[0] == "kitchen sleeps; operations 16, 17 wait for it"
    assert "4.00" in told[1]
    assert "operation 17 expired" in told[2]


def test_attributes_are_set_and_taken_away(terminal: Terminal) -> None:
    address = f"/endpoints/{KITCHEN}/operations"
    terminal.daemon.answers[f"POST {address}"] = operation(operation="write_attributes", code="2.04")
    said = terminal.run("attributes", KITCHEN, PATH, "pmin=10", "gt=", "lt")
    assert (said.code, said.out) == (0, "Operation 17 is CONFIRMED: 2.04.\n")
    (request,) = terminal.daemon.of("POST", address)
    attributes = {"pmin": "10", "gt": None, "lt": None}
    assert request.body == {"operation": "write_attributes", "path": PATH, "attributes": attributes}
    assert terminal.run("attributes", KITCHEN, PATH, "pmin=1", "pmin=2").code == 2


def test_the_observations_of_a_device(terminal: Terminal) -> None:
    items = [
        {
            "paths": [PATH],
            "composite": False,
            "state": "active",
            "asked_by": "console",
            "since_ms": NOW_MS,
            "attributes": {PATH: {"pmin": "10", "pmax": "60"}},
        },
        {
            "paths": ["/3/0/9", "/4/0"],
            "composite": True,
            "state": "waiting",
            "asked_by": "watch list",
            "since_ms": 0,
            "attributes": {"/3/0/9": {"pmin": "1"}, "/4": {"pmax": "9"}},
        },
    ]
    terminal.daemon.answers[f"GET {OBSERVATIONS}"] = {"items": items}
    said = terminal.run("observations", KITCHEN)
    assert said.rows == [
        ["PATHS", "STATE", "ASKED BY", "SINCE", "ATTRIBUTES"],
        [PATH, "active", "console", moment(NOW_MS), "pmin=10 pmax=60"],
        ["/3/0/9 /4/0", "waiting", "watch list", "-", "/3/0/9: pmin=1; /4: pmax=9"],
    ]
    assert terminal.run("observations", KITCHEN, "--only", "waiting", "--json").data == {"items": items}
    assert terminal.daemon.of("GET", OBSERVATIONS)[1].query == {"state": ["waiting"]}
    terminal.daemon.answers[f"GET {OBSERVATIONS}"] = Problem(404, "endpoint_unknown")
    assert terminal.run("observations", KITCHEN).code == 1
