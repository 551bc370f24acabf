"""`flownexus cert` and `flownexus status`."""

import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from flownexus_appliance import __version__

from .conftest import Box


@pytest.mark.parametrize("words", [["cert"], ["cert", "list"]])
async def test_what_is_valid_until_when_and_why(box: Box, words: list[str]) -> None:
    said = await box.run(*words)
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[0].split("  ")[0] == "CERTIFICATE"
    assert [line.split("  ")[0] for line in lines[1:4]] == ["root", "for devices", "for browsers"]
    for status in box.certificates.describe():
        assert status.fingerprint in said.out
        assert f"{status.trusted_until.astimezone():%Y-%m-%d %H:%M}" in said.out
    assert "two thirds" in said.out


async def test_a_doubtful_clock_comes_first(box: Box) -> None:
    box.certificates.doubtful = "the clock shows 1970-01-01"
    said = await box.run("cert")
    assert said.out.startswith("No certificate is made now: the clock shows 1970-01-01.\n")
    said = await box.run("cert", "rotate")
    assert (said.code, said.out) == (1, "")
    assert "1970" in said.err


async def test_json_stands_on_either_side_of_the_action(box: Box) -> None:
    for words in (["cert", "--json", "list"], ["cert", "list", "--json"], ["cert", "--json"]):
        said = await box.run(*words)
        assert [item["kind"] for item in said.data["items"]] == ["root", "dtls", "https"]


async def test_rotation_and_roll_over(box: Box) -> None:
    said = await box.run("cert", "rotate")
    assert len(said.out.splitlines()) == 2
    said = await box.run("cert", "roll-over", "--days", "30", "--json")
    assert [item["kind"] for item in said.data["items"]] == ["root", "root", "cross", "dtls", "https"]
    assert len(box.certificates.roots()) == 2
    said = await box.run("cert", "roll-over", "--finish")
    assert "trusted no more" in said.out
    assert len(box.certificates.roots()) == 1
    said = await box.run("cert", "roll-over", "--finish")
    assert said.code == 1
    said = await box.run("cert", "roll-over")
    assert said.code == 0
    assert len(box.certificates.roots()) == 2


async def test_the_roots_to_trust(box: Box, tmp_path: Path) -> None:
    await box.run("cert", "roll-over")
    said = await box.run("cert", "ca")
    found = x509.load_pem_x509_certificates(said.out.encode())
    assert [one.public_bytes(Encoding.DER) for one in found] == list(box.certificates.roots())
    file = tmp_path / "ca.pem"
    quiet = await box.run("cert", "ca", "--out", str(file))
    assert quiet.out == ""
    assert file.read_text() == said.out
    assert (await box.run("cert", "ca", "--json")).data == {"ca": said.out, "file": None}
    said = await box.run("cert", "ca", "--out", str(tmp_path / "none" / "ca.pem"), "--json")
    assert said.code == 2
    assert json.loads(said.err)["error"] == "file_unusable"


async def test_the_box_at_a_glance(box: Box) -> None:
    said = await box.run("status")
    assert said.code == 0
    assert f"Version        {__version__}\n" in said.out
    assert "2 online, 1 sleeping, 1 offline" in said.out
    assert "coaps://192.0.2.1:5684" in said.out
    assert "Enrolment      closed" in said.out
    assert "Certificates" not in said.out
    await box.run("device", "enrol")
    box.certificates.doubtful = "the clock shows 1970"
    said = await box.run("status")
    assert "open until" in said.out
    assert "none is made: the clock shows 1970" in said.out
    assert (await box.run("status", "--json")).data["version"] == __version__
