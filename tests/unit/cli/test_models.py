"""`flownexus model`: object models listed, shown, taken up and taken away."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest

from flownexus_appliance.lwm2m.ddf import MAX_SIZE_BYTES

from .scripted import Problem, Terminal


def entry(**changes: Any) -> dict[str, Any]:
    found = {
        "object_id": 33000,
        "version": "1.0",
        "name": "Greenhouse",
        "newest": True,
        "source": "uploaded",
        "file": "33000.xml",
    }
    return found | changes


def test_models_are_listed(terminal: Terminal) -> None:
    items = [entry(object_id=3, version="1.2", name="Device", source="registry", file=""), entry()]
    terminal.daemon.answers["GET /models"] = {"items": items, "next": None}
    assert terminal.run("model", "list").rows == [
        ["OBJECT", "VERSION", "NAME", "SOURCE"],
        ["3", "1.2", "Device", "registry"],
        ["33000", "1.0", "Greenhouse", "uploaded"],
    ]
    found = terminal.run("model", "list", "--search", "house", "--source", "uploaded", "--json")
    assert found.data == items
    assert terminal.daemon.asked[1].query == {"q": ["house"], "source": ["uploaded"], "limit": ["500"]}


def test_a_model_with_its_resources(terminal: Terminal) -> None:
    resource = {
        "resource_id": 5700,
        "name": "Sensor Value",
        "operations": "R",
        "data_type": "float",
        "multiple": False,
        "mandatory": True,
        "range": "0..1",
        "units": "Cel",
    }
    executed = resource | {"resource_id": 5605, "operations": "", "multiple": True, "mandatory": False}
    found = entry(versions=["1.0", "1.1"], lwm2m_version="1.0", multiple=True, resources=[resource, executed])
    terminal.daemon.answers["GET /models/33000"] = found
    said = terminal.run("model", "show", "33000")
    assert ["Known", "1.0, 1.1"] in said.rows
    assert ["Source", "uploaded 33000.xml"] in said.rows
    assert said.rows[-2:] == [
        ["5700", "Sensor Value", "R", "float", "one", "yes", "Cel", "0..1"],
        ["5605", "Sensor Value", "-", "float", "many", "no", "Cel", "0..1"],
    ]
    assert terminal.run("model", "show", "33000", "1.1", "--json").data == found
    assert [request.query for request in terminal.daemon.asked] == [{}, {"version": ["1.1"]}]


def test_a_file_is_taken_up(terminal: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"<LWM2M>\xff</LWM2M>"
    (tmp_path / "model.xml").write_bytes(content)
    terminal.daemon.answers["POST /models"] = {"items": [entry()]}
    said = terminal.run("model", "add", str(tmp_path / "model.xml"))
    assert (said.code, said.rows[1]) == (0, ["33000", "1.0", "Greenhouse", "uploaded"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert terminal.run("model", "add", "-", "--json").data == {"items": [entry()]}
    sent = [(request.content, request.media_type) for request in terminal.daemon.asked]
    assert sent == [(content, "application/xml")] * 2
    terminal.daemon.answers["POST /models"] = Problem(400, "ddf_invalid", "line 3 is no resource")
    said = terminal.run("model", "add", str(tmp_path / "model.xml"))
    assert (said.code, said.out) == (1, "")
    assert "line 3" in said.err


def test_a_file_that_cannot_be_one_is_not_sent(terminal: Terminal, tmp_path: Path) -> None:
    (tmp_path / "large.xml").write_bytes(b" " * (MAX_SIZE_BYTES + 1))
    for name in ("large.xml", "none.xml", "."):
        said = terminal.run("model", "add", str(tmp_path / name))
        assert (said.code, said.out) == (2, "")
    assert terminal.daemon.asked == []


def test_a_model_is_taken_away(terminal: Terminal) -> None:
    terminal.daemon.answers["DELETE /models/33000/1.0"] = {"removed": 1}
    said = terminal.run("model", "remove", "33000", "1.0")
    assert (said.code, said.out) == (0, "Object 33000, version 1.0, is no longer an uploaded one.\n")
    assert terminal.run("model", "remove", "33000", "1.0", "--json").data == {"removed": 1}
    assert terminal.run("model", "remove", "33000", "a/b c?").code == 1
    assert terminal.daemon.asked[-1].path == "/models/33000/a/b c?"
