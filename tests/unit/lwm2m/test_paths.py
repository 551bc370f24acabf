"""Paths: what is one, what is not, and how they relate."""

import copy
import pickle

import pytest

from flownexus_appliance.errors import PeerError, UsageError
from flownexus_appliance.lwm2m import paths
from flownexus_appliance.lwm2m.paths import MAX_ID, MAX_LENGTH, Path


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("/", ()),
        ("", ()),
        ("/3", (3,)),
        ("3", (3,)),
        ("/3/", (3,)),
        ("3/0/9", (3, 0, 9)),
        ("/3/0/9/1", (3, 0, 9, 1)),
        ("/0/0/0/0", (0, 0, 0, 0)),
        ("/65534/65534/65534/65534", (65534,) * 4),
        ("/65534/65534/65534/65534/", (65534,) * 4),
    ],
)
def test_parse(text: str, ids: tuple[int, ...]) -> None:
    path = Path.parse(text)
    assert path == ids
    assert isinstance(path, Path)
    assert Path.parse(str(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        "//",
        "///",
        "//3",
        "/3//0",
        "/3/0//",
        "/3/0/9/1/1",
        "/65535",
        "/3/99999",
        "/-1",
        "/+1",
        "/03",
        "/00",
        "/3.0",
        "/x",
        "/3 ",
        " /3",
        "/3\n",
        "/٣",
        "/²",
        "/3/0/9/1" + "/" * 20,
        "/" + "1" * 5000,
        "x" * 100_000,
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(PeerError) as theirs:
        Path.parse(text)
    assert theirs.value.code == "path_invalid"
    assert len(theirs.value.message) < 200
    with pytest.raises(UsageError) as ours:
        Path.parse(text, UsageError)
    assert ours.value.code == "path_invalid"


def test_the_cache_keeps_no_long_texts() -> None:
    paths._parse.cache_clear()
    for number in range(50):
        with pytest.raises(PeerError):
            Path.parse("/" + "9" * MAX_LENGTH + str(number))
    assert paths._parse.cache_info().currsize == 0
    assert Path.parse("/3/0") == (3, 0)
    assert paths._parse.cache_info().currsize == 1


def test_of_checks_its_numbers() -> None:
    assert Path.of(3, 0, 9) == Path((3, 0, 9))
    assert Path.of() == Path.ROOT
    assert Path.of(MAX_ID) == (MAX_ID,)
    for ids in ((-1,), (65535,), (1, 2, 3, 4, 5), (10**5000,), (1,) * 100_000):
        with pytest.raises(PeerError) as caught:
            Path.of(*ids)
        assert caught.value.code == "path_invalid"
        assert len(caught.value.message) < 200


def test_relations() -> None:
    path = Path.parse("/3/0/9/1")
    assert path.resource == Path((3, 0, 9))
    assert path.parent == Path((3, 0, 9))
    assert isinstance(path.parent, Path)
    assert isinstance(path.resource, Path)
    assert Path.parse("/3").resource == Path((3,))
    assert Path.ROOT.parent == Path.ROOT
    assert Path.parse("/3/0").child(9) == Path((3, 0, 9))
    with pytest.raises(PeerError):
        path.child(0)
    with pytest.raises(PeerError):
        Path.ROOT.child(65535)


def test_covers() -> None:
    instance = Path.parse("/3/0")
    assert Path.ROOT.covers(instance)
    assert Path.ROOT.covers(Path.ROOT)
    assert instance.covers(instance)
    assert instance.covers(Path.parse("/3/0/9"))
    assert not instance.covers(Path.parse("/3"))
    assert not instance.covers(Path.parse("/3/1/9"))
    assert not instance.covers(Path.parse("/30/0"))


def test_it_is_a_value() -> None:
    path = Path.parse("/3/0/9")
    assert {path: 1}[Path((3, 0, 9))] == 1
    assert sorted([Path((3, 10)), Path((3, 9)), Path((3,))]) == [(3,), (3, 9), (3, 10)]
    assert pickle.loads(pickle.dumps(path)) == path
    assert copy.deepcopy(path) == path
    assert repr(path) == "Path('/3/0/9')"
    assert str(Path.ROOT) == "/"
