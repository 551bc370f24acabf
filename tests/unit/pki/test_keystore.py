"""The folder: whole after a power cut at any moment, and never touched where it is not understood."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.encoding import chain_pem, key_pem, load_key_pem
from flownexus_appliance.pki.errors import PkiError
from flownexus_appliance.pki.profile import EPOCH, Issuer, Period, Profile, certify, new_key

from .disk import Disk, PowerCutError
from .house import DAY, NAMES, NOW, contents, ensured, loaded, open_keys, parse
from .verify import accepted

HOST = "flownexus.local"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state" / "pki"


def nothing(_: Path) -> None:
    pass


def ready(folder: Path) -> None:
    ensured(folder)


def rolled(folder: Path) -> None:
    ensured(folder).roll_over(NOW, 30 * DAY)


def rolled_twice(folder: Path) -> None:
    rolled(folder)
    loaded(folder).roll_over(NOW, 40 * DAY)


def harmed(folder: Path) -> None:
    rolled(folder)
    (folder / "dtls-2.key").unlink()
    (folder / "https-2.crt").write_bytes(b"nothing")
    (folder / "root-2.key").chmod(0o644)


# What there is before, what is done then, and at what moment.
STEPS: dict[str, tuple[Callable[[Path], None], Callable[[Authority], object]]] = {
    "the first start": (nothing, lambda a: a.ensure(NAMES, NOW)),
    "a rotation": (ready, lambda a: a.ensure(NAMES, NOW + 60 * DAY)),
    "a rotation asked for": (ready, lambda a: a.rotate_now(NOW, NAMES)),
    "a roll-over": (ready, lambda a: a.roll_over(NOW)),
    "a second roll-over": (rolled, lambda a: a.roll_over(NOW)),
    "the end of an overlap": (rolled_twice, lambda a: a.ensure(NAMES, NOW + 40 * DAY)),
    "an overlap that is ended": (rolled, lambda a: a.finish_roll_over(NOW)),
    "mending": (harmed, lambda a: a.ensure(NAMES, NOW)),
}


@pytest.mark.parametrize("step", STEPS)
def test_a_power_cut_at_any_moment_leaves_before_or_after(tmp_path: Path, step: str) -> None:
    prepare, act = STEPS[step]
    original = tmp_path / "original"
    prepare(original)
    roots_before = loaded(original).roots()
    cut_at, finished, roots_seen = 0, False, []
    while not finished:
        folder = tmp_path / str(cut_at) / "pki"
        folder.parent.mkdir()
        if original.exists():
            shutil.copytree(original, folder)
        authority = loaded(folder)
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, cut_at)
            try:
                act(authority)
                finished = True
            except PowerCutError:
                pass
        roots_seen.append(len(roots_after_a_restart(folder, roots_before)))
        cut_at += 1
    assert cut_at > 10
    # It goes from before to after once: what has reached the disk does not come undone.
    assert roots_seen == sorted(roots_seen, reverse=roots_seen[0] > roots_seen[-1])
    assert roots_seen[0] == max(1, len(roots_before))


def roots_after_a_restart(folder: Path, before: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The next start: it loads, goes on, serves whoever it served, and leaves no litter."""
    authority = loaded(folder)
    assert authority.roots() or not before
    authority.ensure(NAMES, NOW)
    assert authority.ready
    for root in authority.roots():
        assert accepted([root], authority.dtls_chain().certificates, NOW, HOST)
    # Of the roots of before none is lost but those that were to go, and none is taken for another.
    assert set(before) <= set(authority.roots()) or set(authority.roots()) <= set(before)
    assert open_keys(folder) == []
    index = json.loads((folder / "index.json").read_bytes())
    named = {"index.json"}
    for root in index["roots"]:
        named |= {f"root-{root['number']}.crt"} | (
            {f"root-{root['number']}-cross.crt"} if root["cross"] else set()
        )
    named.add(f"root-{index['roots'][0]['number']}.key")
    for leaf in index["leafs"]:
        named |= {f"{leaf['kind']}-{leaf['number']}.crt", f"{leaf['kind']}-{leaf['number']}.key"}
    assert set(contents(folder)) == named
    return authority.roots()


@pytest.mark.parametrize("step", STEPS)
def test_files_are_on_the_disk_before_the_index_and_go_after_it(tmp_path: Path, step: str) -> None:
    """What a cut can undo is what was not synced: so each thing is synced before the next relies on it."""
    prepare, act = STEPS[step]
    folder = tmp_path / "pki"
    prepare(folder)
    authority = loaded(folder)
    existing = set(contents(folder)) - {"index.json"} if folder.exists() else set()
    with pytest.MonkeyPatch.context() as patch:
        disk = Disk(patch)
        act(authority)
    done = disk.done
    moved = max(i for i, entry in enumerate(done) if entry == ("replace", "index.json"))
    assert done[moved + 1] == ("sync", "pki")
    for number, (operation, name) in enumerate(done):
        if operation == "replace":
            before = [entry for entry in done[:number] if entry[1].startswith(f".{name}.")]
            assert [kind for kind, _ in before][-2:] == ["create", "sync"]
            assert done[number + 1] == ("sync", "pki")
            assert name == "index.json" or number < moved
            assert name not in existing  # a file that counts is never written again
        if operation == "unlink":
            assert number > moved + 1
            assert name in ("root-1.key", "root-2.key") or not name.endswith("json")


def test_an_index_comes_before_the_first_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    ensured(folder)
    replaced = [name for operation, name in disk.done if operation == "replace"]
    assert replaced[0] == replaced[-1] == "index.json"
    assert replaced.count("index.json") == 2


def test_keys_are_closed_from_the_first_byte_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: dict[str, int] = {}
    real = os.open

    def watched(path: Any, flags: int, mode: int = 0o777) -> int:
        modes[Path(path).name] = mode
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", watched)
    ensured(folder).roll_over(NOW)
    keys = {name: mode for name, mode in modes.items() if ".key." in name}
    assert len(keys) == 6
    assert set(keys.values()) == {0o600}


@pytest.mark.parametrize(
    ("failing", "number"), [("fsync", errno.ENOSPC), ("fsync", errno.EIO), ("open", errno.EROFS)]
)
def test_a_disk_that_takes_nothing_leaves_the_old_state_serving(
    folder: Path, monkeypatch: pytest.MonkeyPatch, failing: str, number: int
) -> None:
    authority = ensured(folder)
    chain, before = authority.dtls_chain(), contents(folder)
    real = getattr(os, failing)

    def fail(*arguments: Any) -> Any:
        if failing == "open" and not arguments[1] & os.O_WRONLY:
            return real(*arguments)
        raise OSError(number, os.strerror(number))

    acts: tuple[Callable[[], object], ...] = (
        lambda: authority.roll_over(NOW),
        lambda: authority.rotate_now(NOW, NAMES),
        lambda: authority.ensure(NAMES, NOW + 60 * DAY),
    )
    for act in acts:
        with monkeypatch.context() as patch:
            patch.setattr(os, failing, fail)
            with pytest.raises(PkiError) as caught:
                act()
        assert caught.value.code == "pki_unwritable"
        assert os.strerror(number) in caught.value.message
    assert authority.dtls_chain() == chain
    assert contents(folder) == before
    assert len(authority.ensure(NAMES, NOW + 60 * DAY)) == 2


def index(folder: Path, change: Callable[[Any], object]) -> None:
    path = folder / "index.json"
    found = json.loads(path.read_bytes())
    change(found)
    path.write_text(json.dumps(found))


def another_root(folder: Path) -> None:
    """A root of this software, but of another box."""
    ensured(folder.parent / "other")
    shutil.copy(folder.parent / "other" / "root-1.crt", folder / "root-1.crt")


def a_folder(folder: Path) -> None:
    (folder / "root-1.crt").unlink()
    (folder / "root-1.crt").mkdir()


SPOILED: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "no index": (lambda f: (f / "index.json").unlink(), "pki_damaged", "index.json is missing"),
    "empty index": (lambda f: (f / "index.json").write_bytes(b""), "pki_damaged", "is not whole"),
    "half an index": (lambda f: os.truncate(f / "index.json", 200), "pki_damaged", "is not whole"),
    "no text": (lambda f: (f / "index.json").write_bytes(b"\xff\xfe\0"), "pki_damaged", "is not whole"),
    "deep": (lambda f: (f / "index.json").write_bytes(b"[" * 60000), "pki_damaged", "is not whole"),
    "no date": (
        lambda f: index(f, lambda i: i["leafs"][0].update(issued="2026-11-22T12:00:00")),
        "pki_damaged",
        "is not whole",
    ),
    "no number": (
        lambda f: index(f, lambda i: i["roots"][0].update(number="../1")),
        "pki_damaged",
        "is not whole",
    ),
    "no name": (
        lambda f: index(f, lambda i: i["order"]["dns"].append("a b")),
        "pki_damaged",
        "no DNS name",
    ),
    "no address": (
        lambda f: index(f, lambda i: i["order"]["addresses"].append("1.2.3")),
        "pki_damaged",
        "is not whole",
    ),
    "too long": (
        lambda f: index(f, lambda i: i["order"].update(validity_s=10**18)),
        "pki_damaged",
        "is not whole",
    ),
    "newer": (lambda f: index(f, lambda i: i.update(version=2)), "pki_foreign", "has version 2"),
    "a cross too many": (
        lambda f: index(f, lambda i: i["roots"][0].update(cross=True)),
        "pki_damaged",
        "root-1-cross.crt is missing",
    ),
    "no root": (lambda f: (f / "root-1.crt").unlink(), "pki_damaged", "root-1.crt is missing"),
    "no root key": (lambda f: (f / "root-1.key").unlink(), "pki_damaged", "root-1.key is missing"),
    "half a root": (lambda f: os.truncate(f / "root-1.crt", 300), "pki_damaged", "root-1.crt is damaged"),
    "half a root key": (lambda f: os.truncate(f / "root-1.key", 99), "pki_damaged", "root-1.key is damaged"),
    "zeros": (lambda f: (f / "root-1.key").write_bytes(bytes(241)), "pki_damaged", "root-1.key is damaged"),
    "another key": (
        lambda f: (f / "root-1.key").write_bytes(key_pem(new_key())),
        "pki_damaged",
        "does not belong to its certificate",
    ),
    "another curve": (
        lambda f: (f / "root-1.key").write_bytes(key_pem(ec.generate_private_key(ec.SECP384R1()))),
        "pki_damaged",
        "root-1.key is damaged",
    ),
    "another box's root": (another_root, "pki_damaged", "does not belong to its certificate"),
    "no root at all": (
        lambda f: shutil.copy(f / "https-1.crt", f / "root-1.crt"),
        "pki_foreign",
        "is no root certificate",
    ),
    "two roots in one": (
        lambda f: (f / "root-1.crt").write_bytes((f / "root-1.crt").read_bytes() * 2),
        "pki_damaged",
        "root-1.crt is damaged",
    ),
    "a folder": (
        a_folder,
        "pki_unreadable",
        "Is a directory",
    ),
}


@pytest.mark.parametrize("spoiled", SPOILED)
def test_what_is_damaged_or_foreign_is_told_and_left_alone(folder: Path, spoiled: str) -> None:
    serving = ensured(folder)
    chain = serving.dtls_chain()
    spoil, code, words = SPOILED[spoiled]
    spoil(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    authority = Authority(folder)
    for act in (
        authority.load,
        lambda: authority.ensure(NAMES, NOW),
        lambda: serving.ensure(NAMES, NOW + 60 * DAY),
    ):
        with pytest.raises(PkiError) as caught:
            act()
        assert caught.value.code == code
        assert words in caught.value.message
        assert str(folder) in caught.value.message
        assert caught.value.hint
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert serving.dtls_chain() == chain  # what runs goes on


SPOILED_ROLL_OVER: dict[str, tuple[Callable[[Path], object], str]] = {
    "no cross": (lambda f: (f / "root-2-cross.crt").unlink(), "root-2-cross.crt is missing"),
    "no old root": (lambda f: (f / "root-1.crt").unlink(), "root-1.crt is missing"),
    "another cross": (
        lambda f: shutil.copy(f / "root-2.crt", f / "root-2-cross.crt"),
        "does not join its root to the one before",
    ),
    "a cross of another key": (
        lambda f: shutil.copy(f / "root-1.crt", f / "root-2-cross.crt"),
        "does not join its root to the one before",
    ),
    "roots out of order": (
        lambda f: index(f, lambda i: i["roots"].reverse()),
        "root-1.key is missing",
    ),
    "a cross forgotten": (
        lambda f: index(f, lambda i: i["roots"][0].update(cross=False)),
        "do not fit together",
    ),
    "a root forgotten": (lambda f: index(f, lambda i: i["roots"].pop()), "do not fit together"),
}


@pytest.mark.parametrize("spoiled", SPOILED_ROLL_OVER)
def test_a_damaged_roll_over_is_told(folder: Path, spoiled: str) -> None:
    rolled(folder)
    spoil, words = SPOILED_ROLL_OVER[spoiled]
    spoil(folder)
    before = contents(folder)
    with pytest.raises(PkiError) as caught:
        loaded(folder)
    assert caught.value.code == "pki_damaged"
    assert words in caught.value.message
    assert contents(folder) == before


def test_a_cross_certificate_for_another_key_is_told(folder: Path) -> None:
    """One by the old root, under the new root's name, for a key that is not the new root's."""
    ensured(folder)
    old = load_key_pem((folder / "root-1.key").read_bytes())
    loaded(folder).roll_over(NOW)
    new, before = (parse(der) for der in loaded(folder).roots())
    period = Period(EPOCH, NOW + 365 * DAY)
    public = new_key().public_key()
    cross = certify(Profile(authority=True), new.subject, public, period, Issuer(before.subject, old))
    (folder / "root-2-cross.crt").write_bytes(chain_pem((cross,)))
    with pytest.raises(PkiError) as caught:
        loaded(folder)
    assert "does not join its root to the one before" in caught.value.message


def test_a_file_in_the_folders_place_is_told(folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("not a folder")
    authority = Authority(folder)
    with pytest.raises(PkiError) as caught:
        authority.load()
    assert caught.value.code == "pki_unreadable"


def test_no_error_tells_what_is_in_a_key(folder: Path) -> None:
    ensured(folder)
    path = folder / "root-1.key"
    secret = path.read_text().splitlines()[1]
    path.write_text(path.read_text().replace("BEGIN PRIVATE", "BEGIN PRIVATELY"))
    with pytest.raises(PkiError) as caught:
        loaded(folder)
    error: BaseException | None = caught.value
    while error is not None:
        assert secret[:12] not in str(error) + repr(error.args)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_files_of_others_are_left_alone(folder: Path) -> None:
    authority = ensured(folder)
    others = ("README", "root-1.key.bak", ".hidden", "root-x.crt", "https-1.crt.old")
    for name in others:
        (folder / name).write_text("mine")
    litter = ("root-9.key", "dtls-7.crt", "root-3-cross.crt", ".index.json.77.new", ".root-2.key.4711.new")
    for name in litter:
        (folder / name).write_text("ours")
        (folder / name).chmod(0o600)
    assert authority.ensure(NAMES, NOW) == ()
    left = set(contents(folder))
    assert set(others) <= left
    assert not left & set(litter)


def test_no_secret_is_in_the_index_or_shown(folder: Path) -> None:
    authority = ensured(folder)
    authority.roll_over(NOW)
    keys = [path.read_text().splitlines()[1] for path in folder.glob("*.key")]
    assert len(keys) == 3
    shown = (folder / "index.json").read_text() + repr(vars(authority)) + repr(authority.describe(NOW))
    assert not any(key[:16] in shown for key in keys)
    assert "PrivateKey" not in shown
