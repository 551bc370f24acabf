"""Packages on their way into a device, in pieces of any size; and the ones the simulator makes."""

import hashlib

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.firmware import UpdateResult
from flownexus_appliance.lwm2m.mcuboot import inspect
from flownexus_appliance.sim.package import MIN_MADE, Intake, make_package
from tests.images import image


def taken(package: bytes, step: int = 512) -> Intake:
    intake = Intake(1 << 20)
    for offset in range(0, len(package), step):
        intake.take(package[offset : offset + step])
    return intake


@pytest.mark.parametrize("step", [1, 7, 16, 31, 32, 33, 500, 4096])
@pytest.mark.parametrize("package", [make_package("1.2.3", 1000), image("1.2.3", 4096, padding=300)])
def test_an_image_may_come_in_pieces_of_any_size(package: bytes, step: int) -> None:
    intake = taken(package, step)
    assert intake.complete() is None
    assert (intake.received, intake.version) == (len(package), "1.2.3")
    assert intake.sha256 == hashlib.sha256(package).hexdigest()


@pytest.mark.parametrize("step", [1, 16, 512])
def test_each_byte_of_an_image_matters(step: int) -> None:
    package = make_package("1.2.3", MIN_MADE)
    for at in range(4, len(package)):
        damaged = package[:at] + bytes((package[at] ^ 1,)) + package[at + 1 :]
        assert taken(damaged, step).complete() is UpdateResult.INTEGRITY_FAILED, at


def test_each_byte_that_is_missing_is_missed() -> None:
    package = make_package("1.2.3", MIN_MADE)
    for size in range(4, len(package)):
        assert taken(package[:size]).complete() is UpdateResult.INTEGRITY_FAILED, size


def test_an_image_with_another_hash_is_not_for_this_boot_loader() -> None:
    assert taken(image(hash_name="sha512")).complete() is UpdateResult.INTEGRITY_FAILED
    assert taken(image(hash_name="")).complete() is UpdateResult.INTEGRITY_FAILED


def test_an_image_with_protected_entries() -> None:
    assert taken(image("4.5.6+7", protected=b"dependency")).complete() is None


def test_an_encrypted_image_is_taken_on_trust() -> None:
    package = image("1.0.1", flags=0x04)
    damaged = package[:3000] + b"?" + package[3001:]
    assert taken(damaged).complete() is None


def test_a_text_says_its_version() -> None:
    intake = taken(b"version=1.2.3-rc1\nand more", 5)
    assert (intake.complete(), intake.version, intake.name) == (None, "1.2.3-rc1", "")


def test_a_text_is_as_long_as_was_told() -> None:
    intake = Intake(1000)
    intake.expect(100)
    intake.take(b"version=1.2.3\n")
    assert intake.complete() is UpdateResult.INTEGRITY_FAILED


def test_nothing_at_all() -> None:
    assert Intake(100).complete() is UpdateResult.UNSUPPORTED_PACKAGE


def test_it_begins_anew() -> None:
    intake = taken(make_package("9.9.9", 600))
    intake.restart()
    assert (intake.received, intake.version) == (0, "")
    intake.take(make_package("1.0.0", 600))
    assert (intake.complete(), intake.version) == (None, "1.0.0")


@pytest.mark.parametrize("version", ["0.0.0", "1.2.3", "255.255.65535+4294967295"])
def test_a_made_package_is_an_image_without_fault(version: str) -> None:
    package = make_package(version, 5000)
    found = inspect(lambda offset, size: package[offset : offset + size], len(package))
    assert found is not None
    assert (found.version, found.size, found.signed, found.checked) == (version, 5000, False, True)
    assert make_package(version, 5000) == package


def test_a_version_may_be_of_two_numbers() -> None:
    assert taken(make_package("1.2", 600)).version == "1.2.0"


@pytest.mark.parametrize("version", ["", "1", "1.2.3.4", "v1.2.3", "256.0.0", "1.2.65536", "1.2.3+x"])
def test_a_version_that_an_image_cannot_have(version: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_package(version, 1000)
    assert caught.value.code == "version_invalid"


@pytest.mark.parametrize("size", [0, MIN_MADE - 1, 1 << 40])
def test_a_size_that_an_image_cannot_have(size: int) -> None:
    with pytest.raises(UsageError) as caught:
        make_package("1.0.0", size)
    assert caught.value.code == "package_size_invalid"
