"""Packages from upload to removal: what is kept is whole and known, what is not leaves nothing."""

import asyncio
import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.db import package_files
from flownexus_appliance.db.firmware import Image
from flownexus_appliance.db.migrate import StoreError
from flownexus_appliance.errors import ApplianceError, UsageError
from flownexus_appliance.fleet.firmware.facts import MAX_FILE_NAME, check_facts
from flownexus_appliance.fleet.firmware.library import Doubt, FirmwareFacts
from tests.conftest import FakeClock
from tests.images import image, plain
from tests.peer import until

from .conftest import BY, Shop


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def refused(shop: Shop, data: bytes, **facts: str) -> UsageError:
    """The refusal of a package of which nothing stays."""
    before = shop.on_disk(), shop.kept(), shop.changes()
    with pytest.raises(UsageError) as raised:
        await shop.add(data, **facts)
    assert (shop.on_disk(), shop.kept(), shop.changes()) == before
    assert raised.value.hint
    return raised.value


# In


async def test_an_image_is_kept(shop: Shop, clock: FakeClock) -> None:
    data = image("1.2.3+4", 200_000)
    kept = await shop.add(
        data[:70_000], data[70_000:], file_name="app.bin", note="first", model="M1", tag="lab"
    )
    assert kept.image == Image("1.2.3+4", 200_000, signed=True)
    assert (kept.version, kept.size, kept.sha256.hex()) == ("1.2.3+4", 200_000, name_of(data))
    assert (kept.file_name, kept.note, kept.model, kept.tag) == ("app.bin", "first", "M1", "lab")
    assert (kept.added_by, kept.added_ms) == (BY, clock.wall_ms)
    assert shop.library.get(kept.id) == kept
    assert shop.on_disk() == [name_of(data)]
    assert (shop.packages / name_of(data)).read_bytes() == data
    assert shop.kept() == [(kept.id, "1.2.3+4")]
    assert shop.changes() == [("added", kept.id)]
    assert shop.library.doubts(kept) == []


async def test_what_is_kept_is_there_after_a_restart(shop: Shop) -> None:
    first = await shop.add(image(), file_name="one.bin", from_version="1.0.0")
    second = await shop.add(plain(), version="v2")
    await shop.restart()
    assert shop.library.all() == [second, first]
    assert shop.library.doubts(second) == [Doubt.NO_IMAGE]
    third = await shop.add(plain(seed="third"), version="3")
    assert third.id not in (first.id, second.id)


async def test_an_entered_version_goes_before_that_of_the_header(shop: Shop) -> None:
    kept = await shop.add(image("1.2.3+4"), version="release 7")
    assert kept.version == "release 7"
    assert kept.versions == ("release 7", "1.2.3+4")
    assert shop.library.doubts(kept) == [Doubt.VERSION_MISMATCH]


async def test_a_version_that_is_written_otherwise_is_no_mismatch(shop: Shop) -> None:
    kept = await shop.add(image("1.2.3"), version="v1.2.3+0")
    assert shop.library.doubts(kept) == []


@pytest.mark.parametrize(
    ("data", "doubts"),
    [
        (image(signed=False), [Doubt.UNSIGNED]),
        (plain(), [Doubt.NO_IMAGE]),
        (b"\xe9\x05" + plain(), [Doubt.NO_IMAGE]),
        (b"PK\x03\x04" + plain(), [Doubt.ARCHIVE]),
        (b"\x7fELF" + plain(), [Doubt.NOT_BINARY]),
        (b":020000040800F2\n", [Doubt.NOT_BINARY]),
    ],
)
async def test_doubts(shop: Shop, data: bytes, doubts: list[Doubt]) -> None:
    kept = await shop.add(data, version="1.2.3")
    assert shop.library.doubts(kept) == doubts
    await shop.restart()
    assert shop.library.doubts(kept) == doubts


async def test_a_package_without_a_name_gets_one(shop: Shop) -> None:
    assert (await shop.add(image())).file_name == "firmware.bin"


# Not in


async def test_nothing_is_no_package(shop: Shop) -> None:
    assert (await refused(shop, b"", version="1")).code == "package_empty"
    async with shop.library.upload() as upload:
        with pytest.raises(UsageError, match="package_empty"):
            await shop.library.add(upload, FirmwareFacts("1"), BY)
    assert shop.on_disk() == []


async def test_an_image_that_is_cut_off(shop: Shop) -> None:
    assert (await refused(shop, image(size=5000)[:4999])).code == "package_truncated"


async def test_an_image_that_is_damaged(shop: Shop) -> None:
    data = bytearray(image(size=5000))
    data[3000] ^= 1
    assert (await refused(shop, bytes(data))).code == "package_corrupt"


async def test_no_version_anywhere(shop: Shop) -> None:
    assert (await refused(shop, plain())).code == "version_missing"


async def test_the_same_again(shop: Shop) -> None:
    first = await shop.add(image())
    error = await refused(shop, image())
    assert error.code == "firmware_known"
    assert f"firmware {first.id}" in error.hint
    assert (shop.packages / name_of(image())).read_bytes() == image()
    assert (await refused(shop, image(), version=first.version)).code == "firmware_known"


async def test_what_is_not_added_goes(shop: Shop) -> None:
    async with shop.library.upload() as upload:
        await upload.write(plain())
        assert upload.received == len(plain())
        assert len(shop.on_disk()) == 1
    assert shop.on_disk() == []


async def test_what_breaks_off_goes(shop: Shop) -> None:
    async def breaks_off() -> None:
        async with shop.library.upload() as upload:
            await upload.write(plain())
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await breaks_off()
    assert shop.on_disk() == []


async def test_what_is_too_large_goes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_files, "MAX_PACKAGE", 10_000)
    assert (await refused(shop, plain(10_001), version="1")).code == "package_too_large"
    await shop.add(plain(10_000), version="1")


async def test_what_a_killed_daemon_left_goes_at_the_next_start(shop: Shop) -> None:
    kept = await shop.add(image())
    async with shop.library.upload() as upload:
        await upload.write(plain())
        (half,) = [name for name in shop.on_disk() if name != name_of(image())]
        (shop.packages / half).rename(shop.folder / "aside")
    (shop.folder / "aside").rename(shop.packages / half)
    (shop.packages / ("0" * 64)).write_bytes(b"kept, and its row never written")
    await shop.restart()
    assert shop.on_disk() == [name_of(image())]
    assert shop.library.all() == [kept]


BAD_NAMES = ["../../etc/passwd", "a/b", "a\\b", "..", ".", "a..b", "a\0b", "a\nb", "\x1b[2J", "x" * 101]


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        *[({"file_name": name}, "file_name_invalid") for name in [*BAD_NAMES, " a", "a ", "a\u202eb"]],
        *[
            ({"version": one}, "version_invalid")
            for one in [" 1", "1 ", " ", "1\n2", "x" * 65, "\x00", "\ud800"]
        ],
        ({"note": "x" * 1001}, "note_invalid"),
        ({"note": "a\x00b"}, "note_invalid"),
        ({"model": "x" * 101}, "target_invalid"),
        ({"model": "a\nb"}, "target_invalid"),
        ({"tag": "x" * 33}, "target_invalid"),
        ({"tag": "one,two"}, "target_invalid"),
        ({"tag": " "}, "target_invalid"),
        ({"from_version": "x" * 65}, "target_invalid"),
        ({"from_version": "1 "}, "target_invalid"),
    ],
)
async def test_what_cannot_be_said_of_a_package(shop: Shop, facts: dict[str, str], code: str) -> None:
    error = await refused(shop, plain(), **{"version": "1", **facts})
    assert error.code == code
    assert all(one.isprintable() for one in error.message)
    kept = await shop.add(plain(), version="1")
    with pytest.raises(UsageError) as raised:
        await shop.library.change(kept.id, FirmwareFacts(**{"version": "1", **facts}))
    assert raised.value.code == code
    assert shop.library.get(kept.id) == kept


async def test_what_can_be_said_of_a_package(shop: Shop) -> None:
    note = "line 1\nline 2\r\n\ttab" + "x" * 900
    kept = await shop.add(
        plain(),
        version="x" * 64,
        file_name="zephyr.signed.bin",
        note=note,
        model="nRF9160 (DK)",
        tag="Küche 2",
        from_version="1.0 beta",
    )
    assert kept.note == note.replace("\r\n", "\n")
    assert (kept.model, kept.tag, kept.from_version) == ("nRF9160 (DK)", "Küche 2", "1.0 beta")
    assert kept.file_name == "zephyr.signed.bin"


@given(st.text(max_size=120))
def test_any_file_name_that_is_taken_stays_in_its_folder(name: str) -> None:
    try:
        taken = check_facts(FirmwareFacts(file_name=name)).file_name
    except UsageError as error:
        assert error.code == "file_name_invalid"  # noqa: PT017 (other names are taken)
        return
    assert 1 <= len(taken) <= MAX_FILE_NAME
    assert taken.isprintable()
    assert Path("/box", taken).parent == Path("/box")
    assert Path("/box", taken).resolve().parent == Path("/box")


# The same bytes as two versions


async def test_two_versions_share_a_file(shop: Shop) -> None:
    first = await shop.add(plain(), version="1")
    second = await shop.add(plain(), version="2")
    assert first.sha256 == second.sha256
    assert shop.on_disk() == [name_of(plain())]
    await shop.library.remove(first.id)
    assert shop.on_disk() == [name_of(plain())]
    assert shop.library.doubts(second) == [Doubt.NO_IMAGE]
    await shop.library.remove(second.id)
    assert shop.on_disk() == []


async def test_two_uploads_of_the_same_at_once(shop: Shop) -> None:
    results = await asyncio.gather(
        shop.add(plain(), version="1"), shop.add(plain(), version="1"), return_exceptions=True
    )
    errors = [result for result in results if isinstance(result, UsageError)]
    assert [error.code for error in errors] == ["firmware_known"]
    assert len(shop.kept()) == len(shop.library.all()) == 1
    assert shop.on_disk() == [name_of(plain())]


async def test_a_removal_beside_an_upload_of_the_same_bytes_leaves_the_file(shop: Shop) -> None:
    first = await shop.add(plain(), version="1")
    with shop.disk_held():
        going = asyncio.create_task(shop.library.remove(first.id))
        await until(lambda: shop.library.find(first.id) is None)
        coming = asyncio.create_task(shop.add(plain(), version="2"))
        await until(lambda: bool(shop.library._lock._waiters))
    await going
    second = await coming
    assert shop.library.all() == [second]
    assert shop.on_disk() == [name_of(plain())]


# Changes


async def test_a_change(shop: Shop) -> None:
    kept = await shop.add(image("1.2.3"), file_name="app.bin", note="old", model="M1")
    changed = await shop.library.change(kept.id, FirmwareFacts("1.2.4", "other.bin", "new", "", "lab", "1.0"))
    assert (changed.version, changed.note, changed.model, changed.tag) == ("1.2.4", "new", "", "lab")
    assert (changed.from_version, changed.file_name) == ("1.0", "app.bin")
    assert shop.library.get(kept.id) == changed
    assert shop.changes() == [("added", kept.id), ("changed", kept.id)]
    await shop.restart()
    assert shop.library.get(kept.id) == changed


async def test_a_change_to_the_version_of_the_header(shop: Shop) -> None:
    kept = await shop.add(image("1.2.3"), version="1")
    assert (await shop.library.change(kept.id, FirmwareFacts())).version == "1.2.3"
    other = await shop.add(plain(), version="1")
    with pytest.raises(UsageError, match="version_missing"):
        await shop.library.change(other.id, FirmwareFacts())


async def test_a_change_to_what_is_there(shop: Shop) -> None:
    first = await shop.add(plain(), version="1")
    second = await shop.add(plain(), version="2")
    with pytest.raises(UsageError, match="firmware_known"):
        await shop.library.change(second.id, FirmwareFacts("1"))
    assert shop.library.all() == [second, first]
    await shop.library.change(first.id, FirmwareFacts("1", note="the same version, of itself"))


async def test_of_what_is_not_there(shop: Shop) -> None:
    for call in (
        shop.library.change(7, FirmwareFacts("1")),
        shop.library.remove(7),
    ):
        with pytest.raises(UsageError, match="firmware_unknown"):
            await call
    with pytest.raises(UsageError, match="firmware_unknown"):
        shop.library.get(7)
    assert shop.library.find(7) is None


# Out


async def test_a_removal(shop: Shop) -> None:
    kept = await shop.add(image())
    await shop.library.remove(kept.id)
    assert shop.library.find(kept.id) is None
    assert shop.on_disk() == []
    assert shop.kept() == []
    assert shop.changes() == [("added", kept.id), ("removed", kept.id)]
    assert (await shop.add(image())).id != kept.id


async def test_what_is_in_use_stays(shop: Shop) -> None:
    kept = await shop.add(image())
    shop.in_use.add(kept.id)
    with pytest.raises(UsageError, match="firmware_in_use"):
        await shop.library.remove(kept.id)
    assert shop.library.get(kept.id) == kept
    assert shop.on_disk() == [name_of(image())]


async def test_nobody_may_begin_with_what_is_being_removed(shop: Shop) -> None:
    kept = await shop.add(image())
    with shop.disk_held():
        going = asyncio.create_task(shop.library.remove(kept.id))
        await until(lambda: shop.library.find(kept.id) is None)
        assert shop.on_disk() == [name_of(image())], "the file goes after the row"
    await going


# The disk


async def test_a_row_that_the_disk_does_not_take_leaves_no_file(shop: Shop) -> None:
    with shop.disk_fails("INSERT ON firmware"):
        with pytest.raises(StoreError):
            await shop.add(image())
        assert shop.on_disk() == []
        assert shop.library.all() == []
    await shop.healed()
    kept = await shop.add(image())
    assert shop.kept() == [(kept.id, kept.version)]


async def test_a_row_that_the_disk_does_not_take_leaves_the_file_of_another(shop: Shop) -> None:
    first = await shop.add(plain(), version="1")
    with shop.disk_fails("INSERT ON firmware"), pytest.raises(StoreError):
        await shop.add(plain(), version="2")
    assert shop.on_disk() == [name_of(plain())]
    assert shop.library.all() == [first]


async def test_a_store_that_takes_nothing_leaves_no_file(shop: Shop) -> None:
    shop.store.writer._broken = True
    with pytest.raises(StoreError):
        await shop.add(image())
    shop.store.writer._broken = False
    assert shop.on_disk() == []


async def test_a_removal_that_the_disk_does_not_take(shop: Shop) -> None:
    kept = await shop.add(image())
    with shop.disk_fails("DELETE ON firmware"), pytest.raises(StoreError):
        await shop.library.remove(kept.id)
    assert shop.library.get(kept.id) == kept
    assert shop.on_disk() == [name_of(image())]
    await shop.healed()
    await shop.library.remove(kept.id)
    assert shop.on_disk() == []


async def test_a_change_that_the_disk_does_not_take(shop: Shop) -> None:
    kept = await shop.add(image())
    with shop.disk_fails("UPDATE ON firmware"), pytest.raises(StoreError):
        await shop.library.change(kept.id, FirmwareFacts("9"))
    assert shop.library.get(kept.id) == kept
    assert shop.changes() == [("added", kept.id)]


async def test_a_file_that_cannot_be_removed_is_told_in_the_log(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await shop.add(image())

    def fails(sha256: bytes) -> None:
        raise ApplianceError("package_unwritable", "read-only")

    monkeypatch.setattr(shop.files, "remove", fails)
    await shop.library.remove(kept.id)
    assert shop.library.all() == []
    assert "firmware file not removed" in caplog.messages
    await shop.restart()
    assert shop.on_disk() == []


async def test_a_package_whose_file_is_gone(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    kept = await shop.add(image())
    await shop.stop()
    (shop.packages / name_of(image())).unlink()
    await shop.start()
    assert "firmware package missing" in caplog.messages
    assert shop.library.all() == [kept]
    assert shop.library.doubts(kept) == [Doubt.FILE_MISSING]
    await shop.library.remove(kept.id)
    again = await shop.add(image())
    assert shop.library.doubts(again) == []


@pytest.mark.parametrize("left", [None, image()[:-1]])
async def test_a_package_that_is_added_again_has_its_file_again(shop: Shop, left: bytes | None) -> None:
    kept = await shop.add(image(), note="as it was")
    await shop.stop()
    path = shop.packages / name_of(image())
    if left is None:
        path.unlink()
    else:
        path.write_bytes(left)
    await shop.start()
    assert shop.library.doubts(kept) == [Doubt.FILE_MISSING]
    assert await shop.add(image(), note="another") == kept
    assert path.read_bytes() == image()
    assert shop.library.doubts(kept) == []
    assert shop.kept() == [(kept.id, kept.version)]


async def test_a_folder_that_is_of_no_use_does_not_stop_the_box(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await shop.add(image())
    await shop.stop()
    for path in shop.packages.iterdir():
        path.unlink()
    shop.packages.rmdir()
    shop.packages.write_bytes(b"a file in the place of the folder")
    await shop.start()
    assert "firmware folder not usable" in caplog.messages
    assert shop.library.doubts(kept) == [Doubt.FILE_MISSING]
    with pytest.raises(ApplianceError, match="package_unwritable"):
        await shop.add(plain(), version="1")
    shop.packages.unlink()


# Who asks may give up


async def test_who_gives_up_while_it_is_added(shop: Shop) -> None:
    with shop.disk_held():
        asking = asyncio.create_task(shop.add(image()))
        await until(lambda: shop.on_disk() == [name_of(image())])
        asking.cancel()
        await asyncio.wait((asking,), timeout=0)
    await asyncio.wait((asking,))
    assert asking.cancelled()
    (kept,) = shop.library.all()
    assert shop.kept() == [(kept.id, kept.version)]
    assert shop.on_disk() == [name_of(image())]


async def test_who_gives_up_while_a_piece_is_written(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread ends what it does before the file is thrown away."""
    begun, may_end = asyncio.Event(), asyncio.Event()
    order = []
    loop = asyncio.get_running_loop()
    write, discard = package_files.Incoming.write, package_files.Incoming.discard

    def slow(incoming: Any, data: bytes) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(may_end.wait(), loop).result(10)
        write(incoming, data)
        order.append("written")

    def told(incoming: Any) -> None:
        order.append("thrown away")
        discard(incoming)

    monkeypatch.setattr(package_files.Incoming, "write", slow)
    monkeypatch.setattr(package_files.Incoming, "discard", told)
    asking = asyncio.create_task(shop.add(image()))
    await begun.wait()
    asking.cancel()
    await asyncio.wait((asking,), timeout=0)
    assert not asking.done()
    may_end.set()
    await asyncio.wait((asking,))
    assert asking.cancelled()
    assert order == ["written", "thrown away"]
    assert shop.on_disk() == []
    assert shop.library.all() == []


async def test_who_gives_up_while_it_is_removed(shop: Shop) -> None:
    kept = await shop.add(image())
    with shop.disk_held():
        asking = asyncio.create_task(shop.library.remove(kept.id))
        await until(lambda: shop.library.find(kept.id) is None)
        asking.cancel()
        await asyncio.wait((asking,))
    await until(lambda: shop.on_disk() == [])
    assert shop.kept() == []
    await until(lambda: shop.changes() == [("added", kept.id), ("removed", kept.id)])


async def test_stopping_waits_for_what_is_being_added(shop: Shop) -> None:
    with shop.disk_held():
        asking = asyncio.create_task(shop.add(image()))
        await until(lambda: shop.on_disk() == [name_of(image())])
        stopping = asyncio.create_task(shop.library.stop())
        await asyncio.wait((stopping,), timeout=0)
        assert not stopping.done()
    await stopping
    assert (await asking).id in [firmware.id for firmware in shop.library.all()]


async def test_the_log_tells_what_was_done(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    kept = await shop.add(image())
    await shop.library.change(kept.id, FirmwareFacts("2"))
    await shop.library.remove(kept.id)
    told = [record.message for record in caplog.records if record.message.startswith("firmware ")]
    assert told == ["firmware added", "firmware changed", "firmware removed"]
