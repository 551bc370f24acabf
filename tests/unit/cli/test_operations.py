"""`flownexus read`, `write`, `execute` and their kin: what is asked of a device, waited for and told."""

import json
from typing import Any

import pytest

from flownexus_appliance.cli import waiting
from flownexus_appliance.cli.output import moment

from .scripted import KITCHEN, NOW_MS, Problem, Request, Terminal, device, operation, value

OPERATIONS = f"/endpoints/{KITCHEN}/operations"
THERMOMETER = {
    "items": [
        {"path": "/3303/0/5700", "name": "Sensor Value", "units": "Cel"},
        {"path": "/3303/0/5701", "name": "Sensor Units", "units": ""},
    ]
}


def model(*resources: tuple[int, str, bool]) -> dict[str, Any]:
    """An object model of resources by number, data type, and whether they are multiple."""
    return {
        "resources": [
            {"resource_id": number, "data_type": data_type, "multiple": multiple}
            for number, data_type, multiple in resources
        ]
    }


def accept(terminal: Terminal, **changes: Any) -> None:
    """Let every operation be done at once."""
    terminal.daemon.answers[f"POST {OPERATIONS}"] = operation(**changes)


def asked(terminal: Terminal) -> list[Any]:
    """The operations that the daemon was asked for."""
    return [request.body for request in terminal.daemon.of("POST", OPERATIONS)]


def test_a_read_shows_values_with_what_they_are_called(terminal: Terminal) -> None:
    values = [value("/3303/0/5700", 21.5, time_ms=NOW_MS - 60_000), value("/3303/0/5701", "Cel", "string")]
    accept(terminal, values=values, paths=["/3303/0"])
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}/resources"] = THERMOMETER
    said = terminal.run("read", KITCHEN, "3303/0")
    assert (said.code, said.err) == (0, "")
    assert asked(terminal) == [{"operation": "read", "path": "/3303/0"}]
    assert said.rows[0] == ["PATH", "NAME", "VALUE", "UNITS", "TIME"]
    assert said.rows[1][:4] == ["/3303/0/5700", "Sensor Value", "21.5", "Cel"]
    assert said.rows[2][:3] == ["/3303/0/5701", "Sensor Units", "Cel"]
    assert said.rows[1][-1] == moment(NOW_MS - 60_000, seconds=True)
    assert said.rows[2][-1] == moment(NOW_MS, seconds=True)


def test_values_of_every_type_are_shown_as_they_are_typed(terminal: Terminal) -> None:
    values = [
        value("/3342/0/5500", True, "boolean"),
        value("/3/0/9", 87, "integer"),
        value("/3/0/13", NOW_MS // 1000, "time"),
        value("/3/0/22", "\x1b[31mred", "string"),
        value("/32769/0/7", "01ff", "opaque"),
    ]
    accept(terminal, values=values)
    said = terminal.run("read", KITCHEN, "/3")
    shown = [row[1] for row in said.rows[1:]]
    assert shown == ["true", "87", moment(NOW_MS, seconds=True), "?[31mred", "01ff"]


def test_several_paths_are_one_composite_read(terminal: Terminal) -> None:
    accept(terminal)
    terminal.run("read", KITCHEN, "/3/0/9", "/3303/0", "--format", "senml_cbor")
    terminal.run("read", KITCHEN, "/3/0/9", "/3303/0", "--each")
    composite = {"operation": "read_composite", "paths": ["/3/0/9", "/3303/0"], "format": "senml_cbor"}
    single = [{"operation": "read", "path": path} for path in ("/3/0/9", "/3303/0")]
    assert asked(terminal) == [composite, *single]


def test_json_is_what_the_daemon_said(terminal: Terminal) -> None:
    accept(terminal, values=[value("/3303/0/5700", 21.5)])
    assert terminal.run("read", KITCHEN, "/3303", "--json").data == operation(
        values=[value("/3303/0/5700", 21.5)]
    )
    said = terminal.run("read", KITCHEN, "/3303", "--each", "--json")
    assert [one["id"] for one in said.data["operations"]] == [17]


@pytest.mark.parametrize(
    ("data_type", "text", "plain"),
    [
        ("string", "", ""),
        ("string", "5", "5"),
        ("string", "true", "true"),
        ("string", '{"0": 1}', '{"0": 1}'),
        ("integer", "5", 5),
        ("integer", "-5", -5),
        ("integer", "5.5", "5.5"),
        ("unsigned", "18446744073709551615", 2**64 - 1),
        ("time", "1795000000", 1795000000),
        ("float", "5", 5.0),
        ("float", "-1.5e-3", -0.0015),
        ("float", "nan", "nan"),
        ("float", "1e999", "1e999"),
        ("boolean", "true", True),
        ("boolean", "0", False),
        ("boolean", "5", "5"),
        ("opaque", "0010", "0010"),
        ("objlnk", "66:0", "66:0"),
    ],
)
def test_a_value_is_typed_by_the_model(terminal: Terminal, data_type: str, text: str, plain: object) -> None:
    accept(terminal, operation="write")
    terminal.daemon.answers["GET /models/3"] = model((15, data_type, False))
    assert terminal.run("write", KITCHEN, f"/3/0/15={text}").code == 0
    (body,) = asked(terminal)
    assert body == {"operation": "write", "path": "/3/0/15", "value": plain}
    assert type(body["value"]) is type(plain)


def test_the_model_is_that_of_the_version_the_device_registered(terminal: Terminal) -> None:
    accept(terminal, operation="write")
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}"] = device(objects={"3": "1.2"})
    terminal.daemon.answers["GET /models/3"] = model((15, "string", False))
    terminal.run("write", KITCHEN, "/3/0/15", "5")
    (request,) = terminal.daemon.of("GET", "/models/3")
    assert request.query == {"version": ["1.2"]}


def test_a_version_without_a_model_is_read_by_the_newest(terminal: Terminal) -> None:
    accept(terminal, operation="write")
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}"] = device(objects={"3": "1.9"})
    terminal.daemon.answers["GET /models/3"] = lambda request: (
        Problem(404, "model_unknown") if request.query else model((15, "string", False))
    )
    terminal.run("write", KITCHEN, "/3/0/15", "5")
    assert asked(terminal)[0]["value"] == "5"


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        (["5"], 5),
        (["5.5"], 5.5),
        (["true"], True),
        (["hello"], "hello"),
        (['{"0": 1, "5": "x"}'], {"0": 1, "5": "x"}),
        (["{hello"], "{hello"),
        (["5", "--type", "string"], "5"),
        (["5", "--type", "float"], 5.0),
    ],
)
def test_without_a_model_the_value_is_what_json_or_the_option_says(
    terminal: Terminal, words: list[str], plain: object
) -> None:
    accept(terminal, operation="write")
    terminal.run("write", KITCHEN, "/33000/0/1", *words)
    (body,) = asked(terminal)
    assert (body["value"], type(body["value"])) == (plain, type(plain))
    assert body.get("data_type") == (words[2] if len(words) > 1 else None)


def test_a_multiple_resource_takes_an_object_of_its_instances(terminal: Terminal) -> None:
    accept(terminal, operation="write")
    terminal.daemon.answers["GET /models/3"] = model((7, "integer", True))
    terminal.run("write", KITCHEN, "/3/0/7", '{"0": "3800", "1": 5000}')
    terminal.run("write", KITCHEN, "/3/0/7/1", "4900")
    terminal.daemon.answers["GET /models/3"] = model((7, "string", True))
    terminal.run("write", KITCHEN, "/3/0/7/1", '{"0": 1}')
    values = [body["value"] for body in asked(terminal)]
    assert values == [{"0": 3800, "1": 5000}, 4900, '{"0": 1}']


def test_a_model_that_gives_no_type_is_none(terminal: Terminal) -> None:
    accept(terminal, operation="write")
    terminal.daemon.answers["GET /models/10482"] = model((5, "none", False))
    terminal.run("write", KITCHEN, "/10482/0/5", "5")
    terminal.run("write", KITCHEN, "/10482/0/5", "5", "--type", "string")
    assert [body["value"] for body in asked(terminal)] == [5, "5"]


def test_several_values_are_a_composite_or_of_one_instance(terminal: Terminal) -> None:
    accept(terminal, operation="write")
    terminal.daemon.answers["GET /models/3"] = model((14, "string", False), (15, "string", False))
    words = ("/3/0/14=+02:00", "/3/0/15=a=b")
    for more in ([], ["--instance"], ["--partial"]):
        assert terminal.run("write", KITCHEN, *words, *more).code == 0
    assert terminal.run("write", KITCHEN, "/3/0/15", "x", "--partial").code == 0
    assert terminal.run("write", KITCHEN, "/3/0/15=x", "--instance").code == 0
    values = {"/3/0/14": "+02:00", "/3/0/15": "a=b"}
    assert asked(terminal) == [
        {"operation": "write_composite", "paths": ["/3/0/14", "/3/0/15"], "values": values},
        {"operation": "write", "path": "/3/0", "values": values},
        {"operation": "write_partial", "path": "/3/0", "values": values},
        {"operation": "write_partial", "path": "/3/0/15", "value": "x"},
        {"operation": "write", "path": "/3/0", "values": {"/3/0/15": "x"}},
    ]
    assert len(terminal.daemon.of("GET", "/models/3")) == 5  # one a command, however many values


@pytest.mark.parametrize(
    "words",
    [
        ["/3/0/15"],
        ["/3/0/15", "a", "b"],
        ["/3/0/15=a", "b"],
        ["/3/0/15=a", "3/0/15=b"],
        ["/3/0/x", "a"],
        ["/3/0/15=a", "/4/0/1=b", "--partial"],
    ],
)
def test_what_cannot_be_written_is_told_before_anything_is_asked(
    terminal: Terminal, words: list[str]
) -> None:
    said = terminal.run("write", KITCHEN, *words)
    assert said.code == 2
    assert "hint: " in said.err
    assert asked(terminal) == []


def test_execute_discover_create_and_delete(terminal: Terminal) -> None:
    accept(terminal, code="2.04")
    terminal.daemon.answers["GET /models/3303"] = model((5700, "float", False), (5701, "string", False))
    said = terminal.run("execute", KITCHEN, "/3/0/4")
    assert said.out == "Operation 17 is CONFIRMED: 2.04.\n"
    terminal.run("execute", KITCHEN, "/3/0/4", "0='x',2")
    accept(terminal, location="/3303/2")
    assert terminal.run("create", KITCHEN, "/3303", "5700=20", "5701=Cel").out == "Created /3303/2.\n"
    terminal.run("create", KITCHEN, "/3303/7", "5700=20")
    terminal.run("create", KITCHEN, "/3303/7")
    terminal.run("delete", KITCHEN, "/3303/7")
    links = [
        {"path": "/3/0", "attributes": {"pmin": "10", "obs": None}},
        {"path": "/3/0/9", "attributes": {}},
    ]
    accept(terminal, links=links)
    said = terminal.run("discover", KITCHEN, "/3")
    assert said.rows == [["PATH", "ATTRIBUTES"], ["/3/0", "pmin=10 obs"], ["/3/0/9"]]
    assert asked(terminal) == [
        {"operation": "execute", "path": "/3/0/4"},
        {"operation": "execute", "path": "/3/0/4", "arguments": "0='x',2"},
        {"operation": "create", "path": "/3303", "values": {"/3303/0/5700": 20.0, "/3303/0/5701": "Cel"}},
        {"operation": "create", "path": "/3303/7", "values": {"/3303/7/5700": 20.0}},
        {"operation": "create", "path": "/3303/7"},
        {"operation": "delete", "path": "/3303/7"},
        {"operation": "discover", "path": "/3"},
    ]


def waits(terminal: Terminal, *states: dict[str, Any]) -> None:
    """Let an operation be QUEUED when it is asked for, then be these, one a question."""
    left = list(states)
    accept(terminal, status="QUEUED")
    terminal.daemon.answers["GET /operations/17"] = lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_who_waits_for_a_sleeping_device_is_told_once(terminal: Terminal) -> None:
    queued = operation(status="QUEUED")
    waits(terminal, queued, queued, operation(values=[value("/3303/0/5700", 21.5)]))
    said = terminal.run("read", KITCHEN, "/3303/0/5700", "--wait", "200")
    assert said.code == 0
    assert said.err == "kitchen sleeps; operation 17 waits for it\n"
    assert "21.5" in said.out
    assert [one.query["wait"] for one in terminal.daemon.of("GET", "/operations/17")] == [
        ["1"],
        ["60"],
        ["60"],
    ]
    quiet = terminal.run("read", KITCHEN, "/3303/0/5700", "--json")
    assert quiet.err == ""


@pytest.mark.parametrize(
    ("state", "told"), [("offline", "kitchen is offline; operation 17 waits"), ("online", "")]
)
def test_why_it_waits(terminal: Terminal, state: str, told: str) -> None:
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}"] = device(state)
    waits(terminal, operation(status="SENDING"), operation())
    said = terminal.run("read", KITCHEN, "/3303/0/5700")
    assert said.err.startswith(told)
    assert bool(said.err) == bool(told)


def test_what_still_waits_in_the_end_is_not_lost(terminal: Terminal) -> None:
    waits(terminal, operation(status="QUEUED"))
    said = terminal.run("read", KITCHEN, "/3303", "--wait", "90")
    assert (said.code, said.out) == (3, "")
    assert "operation 17 still waits for kitchen" in said.err
    assert "flownexus op wait 17" in said.err
    asked_for = [int(one.query["wait"][0]) for one in terminal.daemon.of("GET", "/operations/17")]
    assert sum(asked_for) == 90
    said = terminal.run("read", KITCHEN, "/3303", "--wait", "1", "--json")
    assert (said.code, said.data["status"]) == (3, "QUEUED")
    assert json.loads(said.err)["error"] == "operation_waiting"


def test_nothing_is_waited_for_where_nobody_wants_to(terminal: Terminal) -> None:
    accept(terminal, status="QUEUED")
    said = terminal.run("read", KITCHEN, "/3303", "--wait", "0", "--deadline", "3600")
    assert (said.code, said.out, said.err) == (0, "Operation 17 is queued for kitchen.\n", "")
    assert asked(terminal) == [{"operation": "read", "path": "/3303", "deadline_s": 3600}]
    said = terminal.run("read", KITCHEN, "/3303", "--wait", "0", "--json")
    assert (said.code, said.data["status"], said.err) == (0, "QUEUED", "")


@pytest.mark.parametrize(
    ("state", "code", "error", "told"),
    [
        (
            operation(status="FAILED", code="4.05", message="Method Not Allowed", hint="read it instead"),
            1,
            "operation_failed",
            "kitchen did not do the read of /3303/0/5700: 4.05 Method Not Allowed",
        ),
        (
            operation(status="FAILED", code="4.04"),
            1,
            "operation_failed",
            "kitchen did not do the read of /3303/0/5700: 4.04",
        ),
        (
            operation(status="FAILED", message="no answer"),
            1,
            "operation_failed",
            "kitchen did not do the read of /3303/0/5700: no answer",
        ),
        (operation(status="EXPIRED"), 4, "operation_expired", "operation 17 expired: kitchen did not do"),
        (operation(status="CANCELLED"), 4, "operation_cancelled", "operation 17, a read of /3303/0/5700 on"),
    ],
)
def test_exit_codes(terminal: Terminal, state: dict[str, Any], code: int, error: str, told: str) -> None:
    waits(terminal, state)
    said = terminal.run("read", KITCHEN, "/3303/0/5700")
    assert (said.code, said.out) == (code, "")
    assert said.err.startswith(f"flownexus: {told}")
    refused = state["code"] == "4.04"  # with a reason, which asking again does not mend
    assert said.err.count("hint: ") == (0 if refused else 1)
    assert refused or f"hint: {state['hint'] or 'ask again: flownexus op retry 17'}" in said.err
    said = terminal.run("read", KITCHEN, "/3303/0/5700", "--json")
    assert (said.code, said.data) == (code, state)
    assert json.loads(said.err)["error"] == error


def test_the_daemon_says_no(terminal: Terminal) -> None:
    terminal.daemon.answers[f"POST {OPERATIONS}"] = Problem(
        400, "not_writable", "Manufacturer is not writable"
    )
    said = terminal.run("write", KITCHEN, "/3/0/0", "x")
    assert (said.code, said.out) == (1, "")
    assert said.err == "flownexus: Manufacturer is not writable\n  hint: do something else\n"


def numbered(terminal: Terminal, *states: object) -> None:
    """Let the operations that are asked for be these, one after another."""
    left = list(states)
    terminal.daemon.answers[f"POST {OPERATIONS}"] = lambda _: left.pop(0)


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (["CONFIRMED", "CONFIRMED"], 0),
        (["CONFIRMED", "FAILED"], 1),
        (["EXPIRED", "FAILED"], 1),
        (["CANCELLED", "CONFIRMED"], 4),
    ],
)
def test_of_several_the_worst_is_the_exit_code(terminal: Terminal, statuses: list[str], code: int) -> None:
    numbered(terminal, *(operation(number, status) for number, status in enumerate(statuses)))
    assert terminal.run("read", KITCHEN, "/3", "/4", "--each").code == code


def test_what_was_asked_before_a_refusal_is_still_told(terminal: Terminal) -> None:
    first = operation(1, values=[value("/3303/0/5700", 21.5)])
    numbered(terminal, first, Problem(400, "path_invalid"), operation(3))
    said = terminal.run("read", KITCHEN, "/3303", "/3/0/0/0", "/4", "--each")
    assert said.code == 1
    assert "21.5" in said.out
    assert "that cannot be" in said.err
    assert len(asked(terminal)) == 2


def test_interrupted_waiting_ends_nothing(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    numbered(terminal, operation(17, "QUEUED"), operation(18, "QUEUED"))

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "_wait_once", interrupt)
    said = terminal.run("read", KITCHEN, "/3", "/4", "--each")
    assert said.code == 130
    assert said.err == "operations 17, 18 go on; wait again: flownexus op wait 17 18\n"


def test_a_daemon_that_goes_away_meanwhile_keeps_the_operation(terminal: Terminal) -> None:
    def go(_: Request) -> object:
        (terminal.daemon.state / "control.sock").unlink()
        return operation(status="QUEUED")

    terminal.daemon.answers[f"POST {OPERATIONS}"] = go
    said = terminal.run("read", KITCHEN, "/3303")
    assert said.code == 2
    assert said.err.startswith(
        "operation 17 goes on; wait again: flownexus op wait 17\nflownexus: the daemon"
    )


def test_an_operation_that_is_no_more_does_not_go_on(terminal: Terminal) -> None:
    accept(terminal, status="QUEUED")
    terminal.daemon.answers["GET /operations/17"] = Problem(404, "operation_missing")
    said = terminal.run("read", KITCHEN, "/3303")
    assert said.code == 1
    assert said.err.startswith("flownexus: that cannot be\n")


def test_a_table_needs_no_names(terminal: Terminal) -> None:
    accept(terminal, values=[value("/3303/0/5700", 21.5)])
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}/resources"] = Problem(404, "endpoint_unknown")
    said = terminal.run("read", KITCHEN, "/3303")
    assert (said.code, said.rows[1][:2]) == (0, ["/3303/0/5700", "21.5"])


def test_an_answer_too_long_to_be_kept_is_told(terminal: Terminal) -> None:
    accept(terminal, cut=True)
    assert "too many values" in terminal.run("read", KITCHEN, "/3303").out


@pytest.mark.parametrize(
    "words", [["--wait", "-1"], ["--wait", "x"], ["--wait", "1.5"], ["--deadline", "soon"]]
)
def test_times_to_wait_are_whole_seconds(terminal: Terminal, words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.run("read", KITCHEN, "/3", *words)
    assert caught.value.code == 2


def test_a_path_that_is_none_is_wrong_use(terminal: Terminal) -> None:
    with pytest.raises(SystemExit) as caught:
        terminal.run("read", KITCHEN, "/3/x")
    assert caught.value.code == 2
    assert "/3303/0/5700" in terminal.capsys.readouterr().err
