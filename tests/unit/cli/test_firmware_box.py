"""`flownexus firmware` against the real web side: the daemon takes what is asked, and tells what is shown."""

from pathlib import Path

import pytest

from flownexus_appliance.lwm2m.firmware import Delivery, Reason, UpdateState
from tests.unit.http.firmware_box import FakeFirmwareBox
from tests.unit.http.house import QUIET, SENSOR, SLEEPER, STRANGE

from .conftest import Box


@pytest.fixture
def firmware(box: Box) -> FakeFirmwareBox:
    """What stands behind the web side: without a package."""
    assert isinstance(box.firmware, FakeFirmwareBox)
    return box.firmware


@pytest.fixture
async def added(box: Box, firmware: FakeFirmwareBox, tmp_path: Path) -> Box:
    """A box with package 1, version 2.0.0."""
    file = tmp_path / "app.bin"
    file.write_bytes(b"\xff" * 200_000)
    said = await box.run("firmware", "add", str(file), "--version", "2.0.0", "--note", "the first")
    assert (said.code, said.err) == (0, "")
    assert firmware.contents[1] == b"\xff" * 200_000
    return box


async def test_a_package_from_its_upload_to_its_end(added: Box, firmware: FakeFirmwareBox) -> None:
    listed = (await added.run("firmware", "list")).rows[1]
    assert listed[:5] == ["1", "2.0.0", "app.bin", "195.3 KiB", "any"]
    assert listed[6:] == ["the first"]
    said = await added.run("firmware", "set", "2.0.0", "--model", "X1", "--note", "")
    assert ["For", "X1"] in said.rows
    assert "Note" not in said.out
    assert (firmware.rows[1].model, firmware.rows[1].version) == ("X1", "2.0.0"), "the rest stays"
    assert (await added.run("firmware", "remove", "1")).out == "Package 1, version 2.0.0, is gone.\n"
    assert (await added.run("firmware", "list", "--json")).data == []


async def test_what_the_box_does_not_take(added: Box, firmware: FakeFirmwareBox, tmp_path: Path) -> None:
    file = tmp_path / "app.bin"
    assert (
        "firmware_known"
        in (await added.run("firmware", "add", str(file), "--version", "2.0.0", "--json")).err
    )
    assert (await added.run("firmware", "add", str(file))).code == 1, "nothing says which version it is"
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(2_000_000))  # more than this box takes
    said = await added.run("firmware", "add", str(large), "--version", "3")
    assert said.code == 1
    assert "too large" in said.err
    assert firmware.uploads == []


async def test_an_update_from_its_asking_to_its_end(added: Box, firmware: FakeFirmwareBox) -> None:
    update = ("firmware", "update", SENSOR, "--firmware", "2.0.0")
    said = await added.run(*update, "--delivery", "push", "--instance", "33629/1", "--anyway")
    assert (said.code, said.err) == (0, "")
    kept = firmware.updates[1]
    assert (kept.wanted, str(kept.instance)) == (Delivery.PUSH, "/33629/1")
    assert (await added.run("firmware", "wait", "1", "--wait", "0")).code == 3
    assert (await added.run(*update)).code == 1, "one at a time"
    firmware.move(1, state=UpdateState.PREPARING)
    firmware.move(1, state=UpdateState.DOWNLOADING, delivery=Delivery.PUSH, bytes=50_000)
    rows = (await added.run("firmware", "updates", "--status", "downloading", "--endpoint", SENSOR)).rows
    assert rows[1][:6] == ["1", SENSOR, "2.0.0", "DOWNLOADING", "push", "25 % of 195.3 KiB"]
    firmware.move(1, state=UpdateState.FAILED, reason=Reason.RESULT, result=5)
    said = await added.run("firmware", "wait", "1")
    assert said.code == 1
    assert [row[1] for row in said.rows[-3:]] == ["PREPARING", "DOWNLOADING", "FAILED"]
    assert "Integrity check failed" in said.err
    assert (await added.run("firmware", "updates", "--status", "unsuccessful", "--json")).data[0]["id"] == 1
    assert ["State", "FAILED"] in (await added.run("firmware", "status", "1")).rows
    said = await added.run("firmware", "retry", "1", "--json")
    assert said.data["id"] == 2
    assert (await added.run("firmware", "cancel", "2")).out == f"Update 2 of {SENSOR} is cancelled.\n"
    assert (await added.run("firmware", "wait", "2")).code == 4


async def test_a_campaign_from_its_plan_to_its_end(added: Box, firmware: FakeFirmwareBox) -> None:
    firmware.refusing[STRANGE] = "object_missing"
    begin = ("firmware", "campaign", "begin", "--firmware", "1")
    said = await added.run(*begin, "--dry-run")
    assert said.out.startswith("It would have 3 devices.\n")
    assert [STRANGE, "It has no Firmware Update object, so it takes no updates."] in said.rows
    assert firmware.campaigns == {}
    said = await added.run(
        *begin, "--name", "night", "--at-once", "2", "--failure-limit", "0", "--start", "12h"
    )
    assert said.code == 0
    assert said.out.startswith("Campaign 1 gives 3 devices version 2.0.0; it is SCHEDULED.\n")
    kept = firmware.campaigns[1]
    assert (kept.name, kept.at_once, kept.failure_limit) == ("night", 2, 0)
    assert (await added.run("firmware", "campaign", "resume", "1")).out == "Campaign 1 is RUNNING.\n"
    firmware.move(1, state=UpdateState.PREPARING)
    assert (await added.run("firmware", "campaign", "list")).rows[1][:7] == [
        *("1", "night", "2.0.0", "RUNNING", "3", "0", "0")
    ]
    assert ["PREPARING", "1"] in (await added.run("firmware", "campaign", "show", "1")).rows
    listed = (await added.run("firmware", "updates", "--campaign", "1", "--json")).data
    assert {one["endpoint"] for one in listed} == {SENSOR, SLEEPER, QUIET}
    assert (await added.run("firmware", "campaign", "pause", "1")).code == 0
    assert (await added.run("firmware", "campaign", "pause", "1")).code == 1
    assert (await added.run("firmware", "campaign", "stop", "1")).out == "Campaign 1 is STOPPED.\n"
    said = await added.run(*begin, "--endpoint", QUIET, "--endpoint", SLEEPER, "--at-once", "0")
    assert said.code == 1
    assert "give 1 to" in said.err


async def test_names_are_there_to_complete(added: Box) -> None:
    await added.run("firmware", "campaign", "begin", "--firmware", "1", "--endpoint", SENSOR)
    for source, words in (
        ("packages", "1\t2.0.0 app.bin"),
        ("updates", f"1\tWAITING 2.0.0 {SENSOR}"),
        ("campaigns", "1\tRUNNING 2.0.0"),
    ):
        assert (await added.run("completion", source)).out == f"{words}\n"
