"""Who may fetch which package by a ticket, and that it gets the bytes of the file and no others."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flownexus_appliance.db.firmware import Firmware, FirmwareUpdate
from flownexus_appliance.db.package_files import PackageFiles
from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.firmware import shelf as shelf_module
from flownexus_appliance.fleet.firmware.library import Library
from flownexus_appliance.fleet.firmware.shelf import OPEN_FILES, Shelf
from flownexus_appliance.fleet.ports import Package, PackageGone, Packages, Sender
from flownexus_appliance.lwm2m.firmware import ENDED, UpdateState
from tests.images import image, plain

from .conftest import Shop

TICKET = "Zk3-9_abcDEF"
ADDRESS = "192.0.2.1:5683"
PLAIN = Sender(ADDRESS, ADDRESS)
OWN = Sender("session", ADDRESS, endpoint="one")
ENROLLING = Sender("session", ADDRESS, enrolling=True)
OTHER = Sender("session", ADDRESS, endpoint="two")
NAMELESS = Sender("session", ADDRESS)


def update(shop: Shop, firmware: Firmware, number: int = 1, ticket: str = TICKET) -> FirmwareUpdate:
    """An update of endpoint "one" that is under way."""
    made = FirmwareUpdate(number, "one", firmware.id, ticket, "anna", 0, 0, state=UpdateState.DOWNLOADING)
    shop.tickets[ticket] = made
    return made


def refusal(shop: Shop, sender: Sender | None, ticket: str = TICKET) -> str:
    with pytest.raises(PeerError) as raised:
        shop.shelf.open(ticket, sender)
    return raised.value.code


def open_files(shop: Shop) -> list[str]:
    """The packages that this process has open, by name."""
    found = []
    for number in os.listdir("/proc/self/fd"):
        try:
            target = Path(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
        if target.parent == shop.packages:
            found.append(target.name.split(" ")[0])
    return sorted(found)


# Who


@pytest.mark.parametrize("sender", [None, PLAIN, OWN, ENROLLING])
async def test_who_may_fetch(shop: Shop, sender: Sender | None) -> None:
    data = image(size=5000)
    update(shop, await shop.add(data))
    package = shop.shelf.open(TICKET, sender)
    assert package.read(0, 10_000) == data


@pytest.mark.parametrize("sender", [OTHER, NAMELESS])
async def test_who_may_not(shop: Shop, sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    update(shop, await shop.add(image()))
    assert refusal(shop, sender) == "identity_refused"
    assert "package refused" in caplog.messages
    assert TICKET not in caplog.text
    assert open_files(shop) == []


@pytest.mark.parametrize(("sender", "served"), [(PLAIN, False), (None, True), (OWN, True)])
async def test_where_plain_coap_is_closed_for_packages(
    shop: Shop, sender: Sender | None, served: bool
) -> None:
    update(shop, await shop.add(image()))
    shelf = Shelf(shop.tickets.get, shop.library, shop.files, shop.tell, plain=False)
    try:
        found = shelf.open(TICKET, sender).size == 4096
    except PeerError as error:
        found = error.code != "not_found"
    finally:
        shelf.stop()
    assert found is served


@pytest.mark.parametrize("sender", [None, PLAIN, OWN, OTHER, ENROLLING])
@pytest.mark.parametrize("ticket", ["", "unknown", TICKET[:-1], TICKET + "A", TICKET.lower(), "../x", "\0"])
async def test_an_unknown_ticket_is_the_same_to_all(shop: Shop, sender: Sender | None, ticket: str) -> None:
    update(shop, await shop.add(image()))
    assert refusal(shop, sender, ticket) == "not_found"


@pytest.mark.parametrize("state", [state for state in UpdateState if state not in ENDED])
async def test_a_ticket_is_good_as_long_as_its_update_lives(shop: Shop, state: UpdateState) -> None:
    made = update(shop, await shop.add(image()))
    shop.tickets[TICKET] = FirmwareUpdate(made.id, "one", made.firmware_id, TICKET, "anna", 0, 0, state=state)
    assert shop.shelf.open(TICKET, OWN).size == 4096
    del shop.tickets[TICKET]
    assert refusal(shop, OWN) == "not_found"


# What


async def test_a_package(shop: Shop) -> None:
    data = image(size=70_001)
    kept = await shop.add(data)
    update(shop, kept)
    # That they meet the ports is told by the type checker, here.
    packages: Packages = shop.shelf
    package: Package = packages.open(TICKET, OWN)
    assert package.size == 70_001
    assert package.etag == kept.sha256[:8]
    assert package.read(70_000, 512) == data[-1:]
    assert package.read(70_001, 512) == b""
    assert package.read(80_000, 512) == b""
    assert package.read(0, 0) == b""


@pytest.mark.parametrize("size", [16, 32, 64, 128, 256, 512, 1024])
async def test_block_by_block_at_any_size(shop: Shop, size: int) -> None:
    data = image(size=5003)
    update(shop, await shop.add(data))
    blocks = []
    for offset in range(0, len(data), size):
        package = shop.shelf.open(TICKET, OWN)
        blocks.append(package.read(offset, size))
        package.fetched(min(offset + size, package.size))
    assert b"".join(blocks) == data
    assert shop.fetched[0] == (1, size)
    assert shop.fetched[-1] == (1, 5003)
    assert len(open_files(shop)) == 1


async def test_packages_are_told_apart(shop: Shop) -> None:
    first, second = await shop.add(plain(seed="a"), version="1"), await shop.add(plain(seed="b"), version="2")
    update(shop, first, 1, "a")
    update(shop, second, 2, "b")
    one, two = shop.shelf.open("a", OWN), shop.shelf.open("b", OWN)
    assert one.etag != two.etag
    assert (one.read(0, 5000), two.read(0, 5000)) == (plain(seed="a"), plain(seed="b"))
    two.fetched(7)
    assert shop.fetched == [(2, 7)]


async def test_the_same_bytes_have_the_same_etag(shop: Shop) -> None:
    first, second = await shop.add(plain(), version="1"), await shop.add(plain(), version="2")
    update(shop, first, 1, "a")
    update(shop, second, 2, "b")
    assert shop.shelf.open("a", OWN).etag == shop.shelf.open("b", OWN).etag
    assert len(open_files(shop)) == 1


async def test_a_body_to_push(shop: Shop) -> None:
    data = image()
    kept = await shop.add(data)
    body = shop.shelf.body(kept.id)
    assert (body.size, body.read(0, 5000)) == (len(data), data)
    with pytest.raises(PackageGone):
        shop.shelf.body(kept.id + 1)


async def test_the_log_tells_of_the_first_block_alone(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    kept = await shop.add(image())
    for number, ticket in ((1, "a"), (2, "b")):
        update(shop, kept, number, ticket)
        for _ in range(3):
            shop.shelf.open(ticket, OWN)
    told = [record for record in caplog.records if record.message == "package fetched"]
    assert [record.__dict__["UPDATE_ID"] for record in told] == [1, 2]


async def test_what_is_remembered_for_the_log_has_a_bound(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf_module, "REMEMBERED", 2)
    kept = await shop.add(image())
    for number in range(5):
        update(shop, kept, number, str(number))
        shop.shelf.open(str(number), None)
    assert list(shop.shelf._come) == [3, 4]


# Files


async def test_only_so_many_files_stay_open(shop: Shop) -> None:
    opened = []
    for number in range(OPEN_FILES + 3):
        data = plain(100, str(number))
        update(shop, await shop.add(data, version="1"), number, str(number))
        opened.append((shop.shelf.open(str(number), OWN), data))
        assert opened[0][0]._firmware.sha256.hex() in open_files(shop)
        shop.shelf.open("0", OWN)  # in use all the time, so it stays
    assert len(open_files(shop)) == OPEN_FILES
    assert opened[1][0]._firmware.sha256.hex() not in open_files(shop)
    for package, data in opened:  # who reads slowly reads on
        assert package.read(0, 200) == data
    assert len(open_files(shop)) == OPEN_FILES


async def test_a_removal_closes_the_file(shop: Shop) -> None:
    """Else the disk would have it, with no name, until the next start."""
    kept = await shop.add(image())
    update(shop, kept)
    package = shop.shelf.open(TICKET, OWN)
    assert len(open_files(shop)) == 1
    await shop.library.remove(kept.id)
    assert open_files(shop) == []
    with pytest.raises(PackageGone):
        package.read(0, 16)
    with pytest.raises(PackageGone):
        shop.shelf.open(TICKET, OWN)


async def test_a_file_that_is_gone(shop: Shop) -> None:
    kept = await shop.add(image())
    update(shop, kept)
    shop.files.path(kept.sha256).unlink()
    with pytest.raises(PackageGone) as raised:
        shop.shelf.open(TICKET, OWN)
    assert raised.value.code == "package_missing"
    assert raised.value.hint


async def test_a_file_of_another_size(shop: Shop) -> None:
    data = image()
    kept = await shop.add(data)
    update(shop, kept)
    for other in (data[:-1], data + b"\0", b""):
        shop.files.path(kept.sha256).write_bytes(other)
        with pytest.raises(PackageGone):
            shop.shelf.open(TICKET, OWN)
        assert open_files(shop) == []


async def test_a_file_that_becomes_shorter(shop: Shop) -> None:
    kept = await shop.add(image(size=10_000))
    update(shop, kept)
    package = shop.shelf.open(TICKET, OWN)
    os.truncate(shop.files.path(kept.sha256), 5000)
    assert len(package.read(0, 5000)) == 5000
    with pytest.raises(PackageGone):
        package.read(4900, 200)
    assert open_files(shop) == []


async def test_a_file_that_came_back_is_served_again(shop: Shop) -> None:
    data = image(size=10_000)
    kept = await shop.add(data)
    update(shop, kept)
    package = shop.shelf.open(TICKET, OWN)
    os.truncate(shop.files.path(kept.sha256), 5000)
    with pytest.raises(PackageGone):
        package.read(9000, 16)
    shop.files.path(kept.sha256).write_bytes(data)
    assert package.read(9000, 16) == data[9000:9016]


async def test_nothing_is_open_after_the_end(shop: Shop) -> None:
    kept = await shop.add(image())
    update(shop, kept)
    package = shop.shelf.open(TICKET, OWN)
    shop.shelf.stop()
    assert open_files(shop) == []
    with pytest.raises(PackageGone):
        package.read(0, 16)
    with pytest.raises(PackageGone):
        shop.shelf.open(TICKET, OWN)


class OneFirmware:
    """A library of one, for tests without a store."""

    def __init__(self, firmware: Firmware) -> None:
        self.firmware = firmware

    def find(self, firmware_id: int) -> Firmware | None:
        return self.firmware


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    files = PackageFiles(tmp_path_factory.mktemp("shelf"))
    files.start(())
    incoming = files.incoming()
    incoming.write(plain(1000))
    sha256, size = incoming.keep()
    library = OneFirmware(Firmware(1, "1", "x.bin", size, sha256, "anna", 0))
    shelf = Shelf(lambda ticket: None, cast(Library, library), files, lambda update, until: None)
    yield shelf
    shelf.stop()


@given(offset=st.integers(0, 2**40), size=st.integers(0, 2000))
@example(offset=0, size=1000)
@example(offset=999, size=2)
def test_any_piece_is_that_of_the_file(served: Shelf, offset: int, size: int) -> None:
    """The bytes from there, as many as there are and no more."""
    assert served.body(1).read(offset, size) == plain(1000)[offset : offset + size]
