"""`flownexus firmware add`, `list`, `show`, `set`, `remove`: the packages that the box keeps."""

import argparse
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from ..errors import UsageError, clean
from ..lwm2m.firmware import same_version
from .console import CHUNK_BYTES, Console, Refused
from .output import (
    DONE,
    add_common,
    console,
    moment,
    package_name,
    say_fields,
    say_json,
    say_table,
)
from .progress import Progress, size

# As `db.package_files.MAX_PACKAGE`; the daemon refuses what is larger itself.
MAX_PACKAGE: Final = 64 * 1024 * 1024
# What people say of a package: the option, the field of the API, and what it is.
FACTS: Final = (
    ("--version", "version", "VERSION", "what devices tell that run it (that of its MCUboot header)"),
    ("--note", "note", "TEXT", "a note of your own"),
    ("--model", "model", "MODEL", "only for devices whose model number (3/0/1) is this"),
    ("--tag", "tag", "TAG", "only for devices that have this tag"),
    ("--from-version", "from_version", "VERSION", "only for devices that run this version"),
)
# What is odd about a package.
DOUBTS: Final[Mapping[str, str]] = {
    "version_mismatch": "its MCUboot header has another version: it is done where a device tells either",
    "unsigned": "it is not signed: a boot loader that wants a signature refuses it",
    "no_image": "it has no MCUboot header, so nothing in it was checked; usual for other boot loaders",
    "archive": "it is an archive of several files, which a device cannot take apart",
    "not_binary": "it is for a programmer, not for a device: name the binary (.bin) beside it",
    "file_missing": "its file is gone from the box: add it again",
}


def add_to(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    add = actions.add_parser("add", help="keep a firmware package on the box")
    add.add_argument("file", type=Path, metavar="FILE", help="such as zephyr.signed.bin, at most 64 MiB")
    listing = actions.add_parser("list", help="all packages, the newest first")
    show = actions.add_parser("show", help="everything about a package")
    change = actions.add_parser("set", help="say something else of a package; '' takes it away")
    remove = actions.add_parser("remove", help="take a package away, with what is remembered of its updates")
    for action in (add, change):
        for option, name, metavar, text in FACTS:
            action.add_argument(option, dest=name, metavar=metavar, help=text)
    for action in (show, change, remove):
        action.add_argument(
            "id", type=package_name, metavar="ID", help="the package's number, or its version"
        )
    for action, run in (
        (add, _add),
        (listing, _list),
        (show, _show),
        (change, _set),
        (remove, _remove),
    ):
        add_common(action)
        action.set_defaults(run=run)


def package_named(box: Console, text: str) -> Any:
    """The package of a number or a version; Refused: firmware_unknown, firmware_unclear."""
    items = box.items("/firmware")
    found = [one for one in items if str(one["id"]) == text]
    found = found or [one for one in items if same_version(one["version"], (text,))]
    if not found:
        raise Refused(
            "firmware_unknown", f"there is no package {clean(text, 40)}", "list them: flownexus firmware list"
        )
    if len(found) > 1:
        numbers = ", ".join(str(one["id"]) for one in found)
        raise Refused(
            "firmware_unclear",
            f"{len(found)} packages have version {clean(text, 40)}",
            f"name one of {numbers}",
        )
    return found[0]


def _facts(options: argparse.Namespace) -> dict[str, str]:
    """What was said of a package; "" where something is to be taken away."""
    given = {name: getattr(options, name) for _, name, _, _ in FACTS}
    return {name: text for name, text in given.items() if text is not None}


def _add(options: argparse.Namespace) -> int:
    path: Path = options.file
    try:
        with path.open("rb") as file:
            length = _length(path, file)
            progress = Progress(quiet=options.json)
            try:
                content = _content(path, file, length, progress)
                about = {"file_name": path.name, **_facts(options)}
                answer = console(options).send("/firmware", content, length, **about)
            finally:
                progress.clear()
    except OSError as error:
        raise _unusable(path, f"cannot read {path}: {error.strerror}", "check its name and owner") from error
    if options.json:
        return say_json(answer)
    print(f"Package {answer['id']} is version {clean(answer['version'])}.")
    _say(answer)
    return DONE


def _length(path: Path, file: BinaryIO) -> int:
    """How many bytes a file has; raises UsageError("file_unusable") where it cannot be a package."""
    told = os.fstat(file.fileno())
    if not stat.S_ISREG(told.st_mode):
        raise _unusable(path, f"{path} is no file", "name the file of a package")
    if not told.st_size:
        raise _unusable(path, f"{path} is empty", "see whether its build has ended")
    if told.st_size > MAX_PACKAGE:
        most = f"a package has at most {size(MAX_PACKAGE)}, {MAX_PACKAGE} bytes"
        raise _unusable(path, f"{path} is too large: {told.st_size} bytes", most)
    return told.st_size


def _content(path: Path, file: BinaryIO, length: int, progress: Progress) -> Iterator[bytes]:
    """The file piece by piece; raises UsageError("file_unusable") where it is not what it was."""
    sent = 0
    while sent < length:
        try:
            piece = file.read(min(CHUNK_BYTES, length - sent))
        except OSError as error:
            raise _unusable(path, f"cannot read {path}: {error.strerror}", "nothing was added") from error
        if not piece:
            raise _unusable(path, f"{path} became shorter while it was read", "nothing was added")
        yield piece
        sent += len(piece)
        progress.show(clean(path.name, 40), sent, length)


def _unusable(path: Path, message: str, hint: str) -> UsageError:
    return UsageError("file_unusable", message, hint)


def _list(options: argparse.Namespace) -> int:
    items = console(options).items("/firmware")
    if options.json:
        return say_json(items)
    rows = [
        (
            str(one["id"]),
            one["version"],
            one["file_name"],
            size(one["size"]),
            _for(one),
            moment(one["added_ms"]),
            one["note"],
        )
        for one in items
    ]
    say_table(("ID", "VERSION", "FILE", "SIZE", "FOR", "ADDED", "NOTE"), rows)
    return DONE


def _for(one: Mapping[str, Any]) -> str:
    """Which devices a package is for, in a few words."""
    parts = (
        one["model"],
        one["tag"] and f"tag {one['tag']}",
        one["from_version"] and f"from {one['from_version']}",
    )
    return ", ".join(part for part in parts if part) or "any"


def _show(options: argparse.Namespace) -> int:
    found = package_named(console(options), options.id)
    if options.json:
        return say_json(found)
    _say(found)
    return DONE


def _set(options: argparse.Namespace) -> int:
    facts = _facts(options)
    if not facts:
        names = ", ".join(option for option, *_ in FACTS)
        raise UsageError("options_missing", "nothing to set", f"give one of {names}")
    box = console(options)
    changed = box.patch(f"/firmware/{package_named(box, options.id)['id']}", facts)
    if options.json:
        return say_json(changed)
    _say(changed)
    return DONE


def _remove(options: argparse.Namespace) -> int:
    box = console(options)
    found = package_named(box, options.id)
    answer = box.delete(f"/firmware/{found['id']}")
    if options.json:
        return say_json(answer)
    print(f"Package {found['id']}, version {clean(found['version'])}, is gone.")
    return DONE


def _say(found: Mapping[str, Any]) -> None:
    image = found["image"]
    signed = "" if image is None else "signed" if image["signed"] else "not signed"
    say_fields(
        [
            ("Package", str(found["id"])),
            ("Version", clean(found["version"])),
            ("File", clean(found["file_name"])),
            ("Size", f"{found['size']} bytes"),
            ("SHA-256", found["sha256"]),
            (
                "MCUboot",
                ""
                if image is None
                else f"version {clean(image['version'])}, {image['size']} bytes, {signed}",
            ),
            ("For", clean(_for(found))),
            ("Note", clean(found["note"], 1024)),
            ("Updates", ", ".join(f"{count} {state}" for state, count in found["updates"].items())),
            ("Added", f"{moment(found['added_ms'])} by {clean(found['added_by'])}"),
        ]
    )
    _say_doubts(found["doubts"])


def _say_doubts(doubts: Sequence[str]) -> None:
    for doubt in doubts:
        print(f"note: {DOUBTS.get(doubt, clean(doubt))}")
