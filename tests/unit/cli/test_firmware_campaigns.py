"""`flownexus firmware campaign`: begun, looked at, steered."""

import argparse
import time
from datetime import datetime
from typing import Any

import pytest

from flownexus_appliance.cli.campaigns import ahead
from flownexus_appliance.cli.output import moment

from .scripted import KITCHEN, NOW_MS, Problem, Terminal
from .test_firmware import listed, package


def campaign(state: str = "RUNNING", **changes: Any) -> dict[str, Any]:
    """A campaign as the API tells it."""
    told = {
        "id": 4,
        "name": "greenhouse",
        "firmware": 3,
        "version": "1.2.3",
        "instance": "/5/0",
        "delivery": None,
        "at_once": 20,
        "failure_limit": 10,
        "starts_ms": None,
        "state": state,
        "reason": "",
        "message": "",
        "devices": 7,
        "counts": {"WAITING": 2, "SUCCEEDED": 3, "FAILED": 1, "REVERTED": 1},
        "asked_by": "console",
        "created_ms": NOW_MS,
        "changed_ms": NOW_MS,
    }
    return told | changes


LEFT_OUT = [{"endpoint": "valve", "why": "runs_it", "message": "It runs it."}]


@pytest.fixture
def asked(terminal: Terminal) -> Terminal:
    """A terminal on a daemon that has a package and makes campaigns of it."""
    listed(terminal, package(3))
    terminal.daemon.answers["POST /campaigns"] = {
        "campaign": campaign(),
        "devices": 7,
        "left_out": LEFT_OUT,
    }
    return terminal


def test_a_campaign_is_begun(asked: Terminal) -> None:
    begin = ("firmware", "campaign", "begin", "--firmware", "1.2.3")
    said = asked.run(*begin)
    assert said.code == 0
    assert said.out.startswith("Campaign 4 gives 7 devices version 1.2.3; it is RUNNING.\n")
    assert ["valve", "It runs it."] in said.rows
    assert asked.daemon.asked[-1].body == {"firmware": 3}
    words = ("--name", "g", "--model", "M", "--tag", "t", "--version", "1.1", "--at-once", "5")
    more = ("--failure-limit", "0", "--start", "2096-03-01T02:00+00:00", "--delivery", "push", "--anyway")
    assert asked.run(*begin, *words, *more, "--instance", "/33629/1", "--json").data["devices"] == 7
    assert asked.daemon.asked[-1].body == {
        "firmware": 3,
        "name": "g",
        "model": "M",
        "tag": "t",
        "version": "1.1",
        "at_once": 5,
        "failure_limit": 0,
        "starts_ms": 3_981_405_600_000,
        "delivery": "push",
        "instance": "/33629/1",
        "anyway": True,
    }
    asked.run(*begin, "--endpoint", KITCHEN, "--endpoint", "valve")
    assert asked.daemon.asked[-1].body == {"firmware": 3, "endpoints": [KITCHEN, "valve"]}
    before = len(asked.daemon.asked)
    said = asked.run(*begin, "--endpoint", KITCHEN, "--tag", "t")
    assert said.code == 2
    assert "leave out --endpoint" in said.err
    assert len(asked.daemon.asked) == before


def test_a_campaign_is_tried_out(asked: Terminal) -> None:
    told = {"devices": 1, "endpoints": [KITCHEN], "left_out": LEFT_OUT}
    asked.daemon.answers["POST /campaigns/preview"] = told
    said = asked.run("firmware", "campaign", "begin", "--firmware", "3", "--dry-run")
    assert said.out.startswith(f"It would have 1 device.\n  {KITCHEN}\n")
    assert ["valve", "It runs it."] in said.rows
    assert asked.run("firmware", "campaign", "begin", "--firmware", "3", "--dry-run", "--json").data == told
    assert asked.daemon.of("POST", "/campaigns") == []
    told = {"devices": 0, "endpoints": [], "left_out": []}
    asked.daemon.answers["POST /campaigns/preview"] = told
    said = asked.run("firmware", "campaign", "begin", "--firmware", "3", "--dry-run")
    assert said.out == "It would have 0 devices.\n"


def test_what_the_daemon_refuses_is_told(asked: Terminal) -> None:
    asked.daemon.answers["POST /campaigns"] = Problem(409, "campaign_empty", "it has no device")
    said = asked.run("firmware", "campaign", "begin", "--firmware", "3")
    assert said.code == 1
    assert "it has no device" in said.err


def test_campaigns_are_listed(asked: Terminal) -> None:
    items = [campaign(), campaign("DONE", id=2, name="", devices=0, counts={})]
    asked.daemon.answers["GET /campaigns"] = {"items": items, "next": None}
    when = moment(NOW_MS)
    assert asked.run("firmware", "campaign", "list").out.splitlines()[0].split() == [
        *("ID", "NAME", "VERSION", "STATE", "DEVICES", "DONE", "FAILED", "ASKED", "BY"),
    ]
    assert asked.run("firmware", "campaign", "list").rows[1:] == [
        ["4", "greenhouse", "1.2.3", "RUNNING", "7", "3", "2", when, "console"],
        ["2", "1.2.3", "DONE", "0", "0", "0", when, "console"],
    ]
    assert asked.run("firmware", "campaign", "list", "--json").data == items


def test_everything_about_a_campaign(asked: Terminal) -> None:
    told = campaign("PAUSED", message="Too many devices failed.", starts_ms=NOW_MS, delivery="push")
    asked.daemon.answers["GET /campaigns/4"] = told
    said = asked.run("firmware", "campaign", "show", "4")
    fields = dict(row for row in said.rows if len(row) == 2)
    assert fields["Why"] == "Too many devices failed."
    assert fields["Starts"] == moment(NOW_MS)
    assert fields["Delivery"] == "push"
    assert [row for row in said.rows if row[0].isupper()] == [
        ["STATE", "DEVICES"],
        ["WAITING", "2"],
        ["SUCCEEDED", "3"],
        ["FAILED", "1"],
        ["REVERTED", "1"],
    ]
    assert "flownexus firmware updates --campaign 4" in said.out
    assert asked.run("firmware", "campaign", "show", "4", "--json").data == told


@pytest.mark.parametrize(("verb", "state"), [("pause", "PAUSED"), ("resume", "RUNNING"), ("stop", "STOPPED")])
def test_a_campaign_is_steered(asked: Terminal, verb: str, state: str) -> None:
    asked.daemon.answers["PATCH /campaigns/4"] = campaign(state)
    assert asked.run("firmware", "campaign", verb, "4").out == f"Campaign 4 is {state}.\n"
    assert asked.daemon.asked[-1].body == {"state": state}
    assert asked.run("firmware", "campaign", verb, "4", "--json").data == campaign(state)
    asked.daemon.answers["PATCH /campaigns/4"] = Problem(409, "campaign_unmoved")
    assert asked.run("firmware", "campaign", verb, "4").code == 1


def test_times_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assert [ahead(text) for text in ("0s", "90s", "15m", "12h", "7d", "1w")] == [
        1_000_000,
        1_090_000,
        1_900_000,
        44_200_000,
        605_800_000,
        605_800_000,
    ]
    assert ahead("2026-03-01T02:00Z") == 1_772_330_400_000
    assert ahead("2026-03-01") == round(datetime(2026, 3, 1).astimezone().timestamp() * 1000)
    for text in ("", "soon", "12", "-1h", "12x", "2026-13-01"):
        with pytest.raises(argparse.ArgumentTypeError):
            ahead(text)
