"""`flownexus op`: listing, showing, waiting, cancelling, asking again, following."""

import json
from typing import Any

import pytest

from flownexus_appliance.cli.output import moment

from .scripted import KITCHEN, NOW_MS, Problem, Raw, Request, Terminal, operation, value


def test_the_newest_operations_are_listed(terminal: Terminal) -> None:
    items = [
        operation(18, "QUEUED", operation="write", paths=["/3/0/15"]),
        operation(17, "FAILED", code="4.04", message="Not Found", asked_by="web"),
    ]
    terminal.daemon.answers["GET /operations"] = {"items": items, "next": None}
    said = terminal.run("op", "list")
    asked = moment(NOW_MS)
    assert said.rows == [
        ["ID", "DEVICE", "OPERATION", "PATHS", "STATUS", "BY", "ASKED", "ANSWER"],
        ["18", KITCHEN, "write", "/3/0/15", "QUEUED", "console", asked],
        ["17", KITCHEN, "read", "/3303/0/5700", "FAILED", "web", asked, "4.04 Not Found"],
    ]
    assert terminal.run("op", "list", "--json").data == items
    words = ("--device", KITCHEN, "--status", "queued", "--operation", "write", "--search", "x")
    terminal.run("op", "list", *words)
    first, _, filtered = terminal.daemon.asked
    assert first.query == {"limit": ["50"]}
    assert filtered.query == {
        "endpoint": [KITCHEN],
        "status": ["QUEUED"],
        "operation": ["write"],
        "q": ["x"],
        "limit": ["50"],
    }


def pages(request: Request) -> object:
    """1,200 operations, of which a page has at most 500."""
    newest = int(request.query.get("after", ["1201"])[0]) - 1
    oldest = max(1, newest + 1 - int(request.query["limit"][0]))
    items = [operation(number) for number in range(newest, oldest - 1, -1)]
    return {"items": items, "next": oldest if oldest > 1 else None}


@pytest.mark.parametrize(
    ("limit", "count", "limits"),
    [("700", 700, [500, 200]), ("500", 500, [500]), ("0", 1200, [500, 500, 500]), ("5000", 1200, [500] * 3)],
)
def test_a_list_goes_on_over_pages(terminal: Terminal, limit: str, count: int, limits: list[int]) -> None:
    terminal.daemon.answers["GET /operations"] = pages
    found = terminal.run("op", "list", "--limit", limit, "--json").data
    assert [one["id"] for one in found] == list(range(1200, 1200 - count, -1))
    assert [int(request.query["limit"][0]) for request in terminal.daemon.asked] == limits


def test_words_of_filters_are_checked(terminal: Terminal) -> None:
    for words in (["--status", "late"], ["--operation", "reed"], ["--limit", "x"]):
        with pytest.raises(SystemExit) as caught:
            terminal.run("op", "list", *words)
        assert caught.value.code == 2


def test_everything_about_one_operation(terminal: Terminal) -> None:
    state = operation(
        17,
        "CONFIRMED",
        operation="write",
        paths=["/3/0/15"],
        wanted=[{"path": "/3/0/15", "value": "Europe/Berlin", "data_type": "string"}],
        retry_of=9,
        deadline_ms=NOW_MS + 60_000,
        code="2.04",
        values=[value("/3/0/15", "Europe/Berlin", "string")],
        links=[{"path": "/3/0", "attributes": {}}],
        attempts_made=[
            {"number": 1, "started_ms": NOW_MS, "ended_ms": None, "code": "", "message": ""},
            {"number": 2, "started_ms": NOW_MS, "ended_ms": NOW_MS + 42, "code": "2.04", "message": ""},
        ],
    )
    terminal.daemon.answers["GET /operations/17"] = state
    said = terminal.run("op", "show", "17")
    assert said.code == 0
    fields = dict(row for row in said.rows if len(row) == 2)
    assert fields["Values"] == "/3/0/15=Europe/Berlin"
    assert fields["Deadline"] == moment(NOW_MS + 60_000, seconds=True)
    assert fields["Again for"] == "operation 9"
    assert ["1", moment(NOW_MS, seconds=True), "-"] in said.rows
    assert ["2", moment(NOW_MS, seconds=True), "0.042 s", "2.04"] in said.rows
    assert ["PATH", "NAME", "VALUE", "UNITS", "TIME"] in said.rows
    assert ["PATH", "ATTRIBUTES"] in said.rows
    assert terminal.run("op", "show", "17", "--json").data == state
    terminal.daemon.answers["GET /operations/17"] = Problem(404, "operation_missing")
    assert terminal.run("op", "show", "17").code == 1


def test_attributes_of_an_operation_are_shown_as_they_were_typed(terminal: Terminal) -> None:
    state = operation(attributes={"pmin": "10", "gt": None}, attempts_made=[])
    terminal.daemon.answers["GET /operations/17"] = state
    assert ["Values", "pmin=10 gt"] in terminal.run("op", "show", "17").rows


def test_waiting_for_several(terminal: Terminal) -> None:
    terminal.daemon.answers["GET /operations/17"] = operation(values=[value("/3/0/9", 87, "integer")])
    states = [operation(18, "QUEUED"), operation(18, "FAILED", code="5.00")]
    terminal.daemon.answers["GET /operations/18"] = lambda _: states.pop(0)
    said = terminal.run("op", "wait", "17", "18")
    assert said.code == 1
    assert "87" in said.out
    assert "5.00" in said.err
    assert terminal.run("op", "wait", "17").code == 0


@pytest.mark.parametrize(
    ("status", "code"), [("EXPIRED", 4), ("CANCELLED", 4), ("QUEUED", 3), ("SENDING", 3)]
)
def test_the_exit_code_of_waiting(terminal: Terminal, status: str, code: int) -> None:
    terminal.daemon.answers["GET /operations/17"] = operation(status=status)
    assert terminal.run("op", "wait", "17", "--wait", "2").code == code


def test_cancelling(terminal: Terminal) -> None:
    terminal.daemon.answers["DELETE /operations/17"] = operation(status="CANCELLED")
    said = terminal.run("op", "cancel", "17")
    assert (said.code, said.out) == (0, "Operation 17 is cancelled.\n")
    assert terminal.run("op", "cancel", "17", "--json").data["status"] == "CANCELLED"
    terminal.daemon.answers["DELETE /operations/17"] = Problem(409, "operation_done", "operation 17 is done")
    said = terminal.run("op", "cancel", "17")
    assert (said.code, said.out) == (1, "")
    assert "operation 17 is done" in said.err


def test_asking_again(terminal: Terminal) -> None:
    terminal.daemon.answers["POST /operations/17/retry"] = operation(18, "QUEUED", retry_of=17)
    terminal.daemon.answers["GET /operations/18"] = operation(18, retry_of=17)
    said = terminal.run("op", "retry", "17")
    assert (said.code, said.out) == (0, "Operation 18 is CONFIRMED: 2.05.\n")
    said = terminal.run("op", "retry", "17", "--wait", "0")
    assert (said.code, said.out) == (0, "Operation 18 is queued for kitchen.\n")


def told(number: int, **changes: Any) -> bytes:
    data = {
        "endpoint": KITCHEN,
        "id": number,
        "operation": "read",
        "paths": ["/3/0"],
        "status": "CONFIRMED",
        "attempts": 1,
        "code": "2.05",
        "message": "",
        "time_ms": NOW_MS,
    }
    return b"event: operation\ndata: %b\n\n" % json.dumps(data | changes).encode()


def test_following_what_becomes_of_them(terminal: Terminal) -> None:
    other = b'event: counts\ndata: {"online": 1}\n\n'
    terminal.daemon.answers["GET /stream"] = Raw((told(17), other, told(18, code="4.04", message="\x1b!")))
    said = terminal.run("op", "follow", "--device", KITCHEN)
    at = moment(NOW_MS, seconds=True)
    assert said.rows == [
        [at, "17", KITCHEN, "read", "/3/0", "CONFIRMED", "2.05"],
        [at, "18", KITCHEN, "read", "/3/0", "CONFIRMED", "4.04", "?!"],
    ]
    assert said.code == 2  # the stream does not end but with the daemon
    assert terminal.daemon.asked[0].query == {"endpoint": [KITCHEN]}
    lines = terminal.run("op", "follow", "--json").out.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [17, 18]


@pytest.mark.parametrize("number", ["x", "", "1.5"])
def test_what_is_no_number_of_an_operation(terminal: Terminal, number: str) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.run("op", "show", number)
    assert caught.value.code == 2
    assert "number of an operation" in terminal.capsys.readouterr().err
