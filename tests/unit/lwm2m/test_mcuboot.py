"""MCUboot images: what imgtool makes is read, what is cut or changed is refused, and nothing else happens."""

import hashlib
from collections.abc import Callable
from struct import pack_into, unpack_from

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m import mcuboot
from flownexus_appliance.lwm2m.mcuboot import Header, ImageInfo, Kind
from tests.images import image, plain, tlvs

# imgtool 2.5.0: sign --header-size 0x20 --pad-header --align 4 -v 7.8.9+1011 -k <ed25519> -s 3
BY_IMGTOOL = bytes.fromhex(
    "3db8f3960000000020000c00280000000000000007080900f303000000000000000102030405060708090a0b0c0d0e0f"
    "101112131415161718191a1b1c1d1e1f202122232425262708690c00500004000300000007699000100020001cb3ddba"
    "c77c45dddcce5b849c0473ec7e40e5250eadc2e58f9b946e3c77d63a0100200011bbd8fbbf9107929454d0dbbedaad2a"
    "438d6abc1ca99a9a74938b746d7cd7d724004000f8a344bc57c25581568af6800db225dba6a0c3736fe7469292ce3e2d"
    "2a0f5d67592ef039d4ad60ebfe78c0f20b9399003455c8840e3e88ca456f054f8511b905"
)
KIB = 1024


def reader(data: bytes) -> Callable[[int, int], bytes]:
    return lambda offset, size: data[offset : offset + size]


def inspect(data: bytes) -> ImageInfo | None:
    return mcuboot.inspect(reader(data), len(data))


def refusal(data: bytes) -> str:
    with pytest.raises(UsageError) as raised:
        inspect(data)
    assert raised.value.hint
    return raised.value.code


def test_what_imgtool_makes() -> None:
    assert mcuboot.header(BY_IMGTOOL) == Header("7.8.9+1011", 32, 12, 40, 0)
    assert inspect(BY_IMGTOOL) == ImageInfo("7.8.9+1011", len(BY_IMGTOOL), signed=True, checked=True)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("1.2.3", "1.2.3"),
        ("1.2.3+0", "1.2.3"),
        ("1.2.3+4", "1.2.3+4"),
        ("255.255.65535+4294967295", "255.255.65535+4294967295"),
        ("0.0.0", "0.0.0"),
    ],
)
def test_the_version(version: str, text: str) -> None:
    found = mcuboot.header(image(version)[:32])
    assert found is not None
    assert found.version == text


@pytest.mark.parametrize("size", [700, 64 * KIB, 64 * KIB + 1, 200_000])
@pytest.mark.parametrize("hash_name", ["sha256", "sha384", "sha512"])
def test_an_image_is_checked(hash_name: str, size: int) -> None:
    data = image("1.2.3", size, hash_name=hash_name)
    assert inspect(data) == ImageInfo("1.2.3", size, signed=True, checked=True)


def test_it_is_read_in_pieces() -> None:
    data = image(size=300_000)
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return data[offset : offset + size]

    assert mcuboot.inspect(read, len(data)) is not None
    assert max(asked) <= mcuboot.PIECE
    assert sum(asked) >= len(data)


def test_one_without_a_signature() -> None:
    assert inspect(image(signed=False)) == ImageInfo("1.2.3", 4 * KIB, signed=False, checked=True)


def test_one_without_a_hash() -> None:
    assert inspect(image(hash_name="")) == ImageInfo("1.2.3", 4 * KIB, signed=True, checked=False)


@pytest.mark.parametrize("flag", [0x04, 0x08])
def test_the_hash_of_an_encrypted_one_is_over_what_only_the_device_reads(flag: int) -> None:
    data = bytearray(image(flags=flag))
    data[1000] ^= 1
    assert inspect(bytes(data)) == ImageInfo("1.2.3", 4 * KIB, signed=True, checked=False)


def test_what_is_behind_the_trailer_does_not_count() -> None:
    assert inspect(image(padding=5000)) == ImageInfo("1.2.3", 4 * KIB, signed=True, checked=True)


def test_protected_tlvs_are_hashed() -> None:
    data = image(protected=b"counted")
    assert inspect(data) == ImageInfo("1.2.3", 4 * KIB, signed=True, checked=True)
    where = data.index(b"counted")
    assert refusal(data[:where] + b"C" + data[where + 1 :]) == "package_corrupt"


@pytest.mark.parametrize("at", [20, 33, 0x200, 2000, 4 * KIB - 180])
def test_one_changed_byte_is_found(at: int) -> None:
    data = bytearray(image())
    data[at] ^= 0x10
    assert refusal(bytes(data)) == "package_corrupt"


def test_every_shorter_one_is_cut_off() -> None:
    data = BY_IMGTOOL
    for size in range(4, len(data)):
        assert refusal(data[:size]) == "package_truncated", size
    for size in range(4):
        assert inspect(data[:size]) is None, size


def test_a_hash_is_made_once_however_often_it_is_told() -> None:
    """Else a trailer of two thousand hashes would keep the box busy for an hour."""
    content = image(size=100_000, signed=False, hash_name="")[: -len(tlvs(0x6907))]
    entry = (0x10, hashlib.sha256(content).digest())
    data = content + tlvs(0x6907, *[entry] * 1000)
    asked = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return data[offset : offset + size]

    found = mcuboot.inspect(read, len(data))
    assert found is not None
    assert found.checked
    assert sum(asked) < 2 * len(data)


def test_a_file_that_became_shorter_meanwhile_is_cut_off() -> None:
    data = image()
    with pytest.raises(UsageError) as raised:
        mcuboot.inspect(reader(data[:-10]), len(data))
    assert raised.value.code == "package_truncated"


def test_a_header_that_is_too_small() -> None:
    data = bytearray(image(hash_name=""))
    (size,) = unpack_from("<I", data, 12)
    pack_into("<H", data, 8, 31)
    pack_into("<I", data, 12, size + 0x200 - 31)  # so that the trailer is where it was
    assert refusal(bytes(data)) == "package_corrupt"


def test_a_size_that_leads_elsewhere() -> None:
    data = bytearray(image())
    pack_into("<I", data, 12, 100)
    assert refusal(bytes(data)) == "package_corrupt"
    pack_into("<I", data, 12, 2**32 - 1)
    assert refusal(bytes(data)) == "package_truncated"


def test_protected_tlvs_of_another_size_than_the_header_says() -> None:
    data = image(protected=b"counted")
    where = data.index(tlvs(0x6908, (0x00A0, b"counted")))
    changed = bytearray(data)
    pack_into("<H", changed, where + 2, 10)
    assert refusal(bytes(changed)) == "package_corrupt"


@pytest.mark.parametrize(
    "trailer",
    [
        tlvs(0x6908, (0x10, bytes(32))),  # protected ones, of which the header knows nothing
        tlvs(0x6907)[:2] + b"\x03\x00",  # smaller than its own beginning
        tlvs(0x6907)[:2] + b"\x07\x00" + bytes(3),  # ends within an entry
        tlvs(0x6907)[:2] + b"\x08\x00" + b"\x10\x00\x01\x00",  # an entry longer than all
        tlvs(0x6907, (0x10, bytes(31))),  # no SHA-256
        b"\xff" * 100,
    ],
)
def test_a_trailer_that_is_none(trailer: bytes) -> None:
    data = image(size=1000, signed=False, hash_name="")
    assert refusal(data[: -len(tlvs(0x6907))] + trailer) == "package_corrupt"


def test_an_empty_trailer() -> None:
    assert inspect(image(signed=False, hash_name="")) == ImageInfo("1.2.3", 4 * KIB, False, False)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (image(), Kind.MCUBOOT),
        (b"\x3d\xb8\xf3\x96", Kind.MCUBOOT),
        (b"\x3c\xb8\xf3\x96" + bytes(60), Kind.PLAIN),  # of the first MCUboot, another format
        (b"\x96\xf3\xb8\x3d" + bytes(60), Kind.PLAIN),  # big endian
        (b"PK\x03\x04" + bytes(30), Kind.ARCHIVE),
        (b"PK\x05\x06" + bytes(18), Kind.ARCHIVE),  # with nothing in it
        (b"\x7fELF\x01\x01\x01", Kind.ELF),
        (b":020000040800F2\r\n", Kind.HEX),
        (b":1000000000040020", Kind.HEX),
        (b":nothing of it", Kind.PLAIN),
        (b":0200", Kind.PLAIN),
        (b"UF2\nWQ]\x9e", Kind.UF2),
        (b"\xe9\x06\x02\x2f", Kind.ESP),
        (b"\xe9\x00\x02\x2f", Kind.PLAIN),
        (b"\xe9\x11\x02\x2f", Kind.PLAIN),
        (b"\xe9", Kind.PLAIN),
        (plain(), Kind.PLAIN),
        (b"", Kind.PLAIN),
    ],
)
def test_what_a_file_is(data: bytes, kind: Kind) -> None:
    assert mcuboot.kind_of(data[: mcuboot.BEGINNING]) is kind
    if kind is not Kind.MCUBOOT:
        assert mcuboot.header(data) is None
        assert inspect(data) is None


def test_less_than_a_header_is_none() -> None:
    assert mcuboot.header(image()[:31]) is None


@given(st.binary(max_size=300), st.binary(max_size=64))
@example(image(size=700), b"")
def test_any_bytes_are_read_or_refused(body: bytes, head: bytes) -> None:
    """A value or UsageError, nothing else, whatever stands behind the magic."""
    for data in (body, BY_IMGTOOL[:4] + body, BY_IMGTOOL[:32] + body, BY_IMGTOOL[:76] + head + body):
        try:
            found = inspect(data)
        except UsageError:
            continue
        assert found is None or found.size <= len(data)


@given(st.integers(0, len(BY_IMGTOOL) - 1), st.integers(1, 255))
def test_any_one_byte_is_told_or_does_no_harm(at: int, change: int) -> None:
    """A changed byte is found wherever the hash reaches."""
    data = bytearray(BY_IMGTOOL)
    data[at] ^= change
    if 4 <= at < 84:  # header, image, protected TLVs
        assert refusal(bytes(data)) in ("package_truncated", "package_corrupt")
