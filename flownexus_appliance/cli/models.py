"""`flownexus model`: the object models that say what resources are called, of which type and unit."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ..errors import UsageError, clean
from ..lwm2m.ddf import MAX_SIZE_BYTES
from .console import below
from .output import DONE, add_common, console, say_fields, say_json, say_table

XML: Final = "application/xml"
SOURCES: Final = ("registry", "uploaded")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("model", help="object models: what resources are called and hold")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="all object models")
    listing.add_argument("--search", default="", metavar="TEXT", help="in numbers and names")
    listing.add_argument("--source", default="", choices=SOURCES, help="only those")
    show = actions.add_parser("show", help="the resources of an object")
    show.add_argument("object", type=int, metavar="OBJECT", help="its number, such as 3303")
    show.add_argument("version", nargs="?", default="", metavar="VERSION", help="such as 1.1 (the newest)")
    add = actions.add_parser("add", help="take up a DDF file (XML), in use at once")
    add.add_argument("file", type=Path, metavar="FILE", help="- reads it from standard input")
    remove = actions.add_parser("remove", help="take an uploaded model away")
    remove.add_argument("object", type=int, metavar="OBJECT", help="its number")
    remove.add_argument("version", metavar="VERSION", help="such as 1.0")
    for action, run in ((listing, _list), (show, _show), (add, _add), (remove, _remove)):
        add_common(action)
        action.set_defaults(run=run)


def _list(options: argparse.Namespace) -> int:
    items = console(options).items("/models", q=options.search, source=options.source)
    if options.json:
        return say_json(items)
    _say(items)
    return DONE


def _show(options: argparse.Namespace) -> int:
    found = console(options).get(f"/models/{options.object}", version=options.version)
    if options.json:
        return say_json(found)
    say_fields(
        [
            ("Object", str(found["object_id"])),
            ("Name", clean(found["name"])),
            ("Version", found["version"]),
            ("Known", ", ".join(found["versions"])),
            ("LwM2M", f"{found['lwm2m_version']} or later"),
            ("Instances", "many" if found["multiple"] else "one"),
            ("Source", clean(f"{found['source']} {found['file']}".strip())),
        ]
    )
    print()
    rows = [
        (
            str(resource["resource_id"]),
            resource["name"],
            resource["operations"] or "-",
            resource["data_type"],
            "many" if resource["multiple"] else "one",
            "yes" if resource["mandatory"] else "no",
            resource["units"],
            resource["range"],
        )
        for resource in found["resources"]
    ]
    say_table(("ID", "NAME", "CAN", "TYPE", "VALUES", "MANDATORY", "UNITS", "RANGE"), rows)
    return DONE


def _add(options: argparse.Namespace) -> int:
    answer = console(options).upload("/models", _content(options.file), XML)
    if options.json:
        return say_json(answer)
    _say(answer["items"])
    return DONE


def _remove(options: argparse.Namespace) -> int:
    answer = console(options).delete(below(f"models/{options.object}", options.version))
    if options.json:
        return say_json(answer)
    print(f"Object {options.object}, version {clean(options.version)}, is no longer an uploaded one.")
    return DONE


def _content(path: Path) -> bytes:
    """Raises UsageError("file_unusable")."""
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(MAX_SIZE_BYTES + 1)
        else:
            with path.open("rb") as file:
                content = file.read(MAX_SIZE_BYTES + 1)
    except OSError as error:
        raise UsageError(
            "file_unusable", f"cannot read {path}: {error.strerror}", "check the name"
        ) from error
    if len(content) > MAX_SIZE_BYTES:
        raise UsageError(
            "file_unusable", f"{path} is too large", f"a model has at most {MAX_SIZE_BYTES} bytes"
        )
    return content


def _say(items: Sequence[Any]) -> None:
    rows = [(str(item["object_id"]), item["version"], item["name"], item["source"]) for item in items]
    say_table(("OBJECT", "VERSION", "NAME", "SOURCE"), rows)
