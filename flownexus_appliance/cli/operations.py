"""`flownexus read`, `write`, `execute`, `discover`, `create` and `delete`: what a device is to do."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..errors import UsageError
from ..lwm2m.paths import Path
from ..lwm2m.values import DataType
from .output import add_common, console, device_name
from .typed import Values, by_path, pairs, parse_path, path_argument
from .waiting import add_deadline, add_waiting, perform

# As the API calls them.
FORMATS: Final = ("senml_cbor", "senml_json", "tlv", "json", "text", "opaque", "cbor", "lwm2m_cbor")
TYPES: Final = tuple(one.value for one in DataType if one is not DataType.NONE)
EXAMPLE: Final = "/3/0/14=+02:00 /3/0/15=Europe/Berlin"


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    read = commands.add_parser("read", help="read values from a device")
    write = commands.add_parser("write", help="write values to a device")
    execute = commands.add_parser("execute", help="have a device do something, such as reboot")
    discover = commands.add_parser("discover", help="what a device has below a path, and its attributes")
    create = commands.add_parser("create", help="make an instance of an object on a device")
    delete = commands.add_parser("delete", help="remove an instance from a device")
    for parser, run in (
        (read, _read),
        (write, _write),
        (execute, _execute),
        (discover, _discover),
        (create, _create),
        (delete, _delete),
    ):
        parser.add_argument("name", type=device_name, metavar="NAME", help="the device's endpoint name")
        parser.set_defaults(run=run)
    for parser in (execute, discover, create, delete):
        parser.add_argument("path", type=path_argument, metavar="PATH", help="such as /3/0/4")
    _add_reading(read)
    _add_writing(write)
    execute.add_argument("arguments", nargs="?", default="", metavar="ARGUMENTS", help="such as 0='text',2")
    create.add_argument("values", nargs="*", metavar="R=VALUE", help="resources by their number")
    _add_typing(create)
    for parser in (read, write, execute, discover, create, delete):
        add_waiting(parser)
        add_deadline(parser)
        add_common(parser)


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", type=path_argument, nargs="+", metavar="PATH", help="such as /3/0 or /3303/0/5700"
    )
    parser.add_argument(
        "--each", action="store_true", help="several paths by a read each, not by one composite"
    )
    parser.add_argument("--format", choices=FORMATS, help="the Content-Format to ask for")


def _add_writing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="+", metavar="PATH=VALUE", help="or PATH VALUE")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--instance", action="store_true", help="replace the whole instance by these values")
    how.add_argument("--partial", action="store_true", help="leave what is not named as it is")
    _add_typing(parser)


def _add_typing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--type", choices=TYPES, help="of the value, where no object model knows the resource"
    )
    parser.add_argument("--format", choices=FORMATS, help="the Content-Format to write in")


def _read(options: argparse.Namespace) -> int:
    paths = [str(path) for path in options.paths]
    if len(paths) > 1 and not options.each:
        return perform(options, [{"operation": "read_composite", "paths": paths, "format": options.format}])
    bodies = [{"operation": "read", "path": path, "format": options.format} for path in paths]
    return perform(options, bodies, several=options.each)


def _write(options: argparse.Namespace) -> int:
    values = by_path([(parse_path(path), text) for path, text in _assignments(options.words)])
    body = _placed(list(values), instance=options.instance, partial=options.partial)
    make = Values(console(options), options.name, options.type).make
    return perform(
        options, [_valued(options, body, {path: make(path, text) for path, text in values.items()})]
    )


def _assignments(words: Sequence[str]) -> list[tuple[str, str]]:
    """PATH VALUE, or PATH=VALUE again and again. A value may hold anything, a path no equals sign."""
    if "=" in words[0]:
        return pairs(words, EXAMPLE)
    if len(words) != 2:
        raise UsageError(
            "words_invalid", "neither PATH VALUE nor PATH=VALUE", f"write /3/0/15 Europe/Berlin, or {EXAMPLE}"
        )
    return [(words[0], words[1])]


def _placed(paths: Sequence[Path], *, instance: bool, partial: bool) -> dict[str, Any]:
    """Which operation writes to these paths, and to what."""
    if not instance and not partial:
        if len(paths) == 1:
            return {"operation": "write", "path": str(paths[0])}
        return {"operation": "write_composite", "paths": [str(path) for path in paths]}
    operation = "write_partial" if partial else "write"
    if partial and len(paths) == 1 and len(paths[0]) == 3:
        return {"operation": operation, "path": str(paths[0])}
    instances = {Path(path[:2]) for path in paths}
    if len(instances) > 1:
        raise UsageError(
            "options_conflict",
            f"these are of {len(instances)} instances",
            "leave out --instance and --partial: a composite write takes several",
        )
    return {"operation": operation, "path": str(instances.pop())}


def _valued(
    options: argparse.Namespace, body: Mapping[str, Any], values: Mapping[Path, object]
) -> dict[str, Any]:
    whole = {**body, "format": options.format, "data_type": options.type}
    if len(values) == 1 and body.get("path") == str(next(iter(values))):
        return {**whole, "value": next(iter(values.values()))}
    return {**whole, "values": {str(path): value for path, value in values.items()}}


def _execute(options: argparse.Namespace) -> int:
    body = {"operation": "execute", "path": str(options.path), "arguments": options.arguments or None}
    return perform(options, [body])


def _discover(options: argparse.Namespace) -> int:
    return perform(options, [{"operation": "discover", "path": str(options.path)}])


def _create(options: argparse.Namespace) -> int:
    # Of an instance that the device is to number, the values stand in instance 0.
    instance = options.path if len(options.path) > 1 else Path((*options.path, 0))
    found = pairs(options.values, "5700=21.5 5701=Cel")
    values = by_path([(parse_path(f"{instance}/{number}"), text) for number, text in found])
    body: dict[str, Any] = {"operation": "create", "path": str(options.path)}
    if values:
        make = Values(console(options), options.name, options.type).make
        body = _valued(options, body, {path: make(path, text) for path, text in values.items()})
    return perform(options, [body])


def _delete(options: argparse.Namespace) -> int:
    return perform(options, [{"operation": "delete", "path": str(options.path)}])
