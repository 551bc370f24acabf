"""`flownexus completion`: a script for bash, zsh or fish, made from the command's own parser.

What the parser knows stands in the script. What only the daemon knows, names of devices and numbers of
operations, the script asks this command for: quickly, and without a word where there is no daemon.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ..errors import ApplianceError
from . import completion_scripts
from .completion_scripts import Command, Option, Place
from .console import Console
from .output import (
    DONE,
    add_common,
    campaign_id,
    device_name,
    operation_id,
    package_name,
    update_id,
    user_name,
)

# Nobody waits longer for a Tab.
ASK_TIMEOUT_S: Final = 1.0
MOST: Final = 200
FOLDERS: Final = ("FOLDER",)


@dataclass(frozen=True, slots=True)
class _Name:
    """A word that can be completed to, and what it is."""

    word: str
    help: str


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("completion", help="a script that completes these commands in a shell")
    parser.add_argument("what", choices=(*completion_scripts.SHELLS, *SOURCES), metavar="SHELL", help=_HELP)
    parser.add_argument("--prefix", default="", metavar="TEXT", help="only names that begin so")
    add_common(parser)
    parser.set_defaults(run=_complete)


def _complete(options: argparse.Namespace) -> int:
    write = completion_scripts.SHELLS.get(options.what)
    if write is not None:
        # Not before all groups have been added, of which this is one.
        from .main import make_parser

        print(write(list(describe(make_parser()))), end="")
        return DONE
    try:
        found = SOURCES[options.what](Console(options.state, ASK_TIMEOUT_S), options.prefix)
    except ApplianceError:
        return DONE
    for name in found:
        if name.word.startswith(options.prefix) and name.word.isprintable():
            print(f"{name.word}\t{name.help}")
    return DONE


def _devices(box: Console, prefix: str) -> list[_Name]:
    found = box.get("/endpoints", q=prefix, limit=str(MOST))["items"]
    return [_Name(one["endpoint"], _line(one["state"], one["label"])) for one in found]


def _operations(box: Console, _: str) -> list[_Name]:
    found = box.get("/operations", limit=str(MOST))["items"]
    return [
        _Name(str(one["id"]), _line(one["status"], one["operation"], *one["paths"], one["endpoint"]))
        for one in found
    ]


def _users(box: Console, _: str) -> list[_Name]:
    return [_Name(one["name"], _line(one["role"])) for one in box.get("/users")["items"]]


def _packages(box: Console, _: str) -> list[_Name]:
    found = box.items("/firmware", most=MOST)
    return [_Name(str(one["id"]), _line(one["version"], one["file_name"])) for one in found]


def _updates(box: Console, _: str) -> list[_Name]:
    found = box.items("/updates", most=MOST)
    return [_Name(str(one["id"]), _line(one["state"], one["version"], one["endpoint"])) for one in found]


def _campaigns(box: Console, _: str) -> list[_Name]:
    found = box.items("/campaigns", most=MOST)
    return [_Name(str(one["id"]), _line(one["state"], one["version"], one["name"])) for one in found]


SOURCES: Final = {
    "devices": _devices,
    "operations": _operations,
    "users": _users,
    "packages": _packages,
    "updates": _updates,
    "campaigns": _campaigns,
}
_HELP: Final = f"{', '.join(completion_scripts.SHELLS)}; {', '.join(SOURCES)} are what the scripts ask for"


def _line(*parts: str) -> str:
    text = " ".join(part for part in parts if part)
    return "".join(c if c.isprintable() else "?" for c in text)


# What an argument's type says of what may stand there.
_KINDS: Final[dict[Any, str]] = {
    device_name: "devices",
    operation_id: "operations",
    user_name: "users",
    package_name: "packages",
    update_id: "updates",
    campaign_id: "campaigns",
}


def describe(parser: argparse.ArgumentParser) -> Iterator[Command]:
    """A command and all below it, as the scripts need them."""
    below: list[argparse.ArgumentParser] = []
    commands: dict[str, str] = {}
    options: list[Option] = []
    places: list[Place] = []
    repeated = False
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            below += action.choices.values()
            # Listed beside the choices, as `--help` shows them.
            helps = {str(one.dest): one.help or "" for one in action._choices_actions}
            commands = {name: helps.get(name, "") for name in action.choices}
        elif action.option_strings:
            value = None if action.nargs == 0 else _place(action)
            options.append(Option(tuple(action.option_strings), _help(action), value))
        else:
            places.append(_place(action))
            repeated = action.nargs in ("+", "*")
    yield Command(parser.prog, commands, tuple(options), tuple(places), repeated)
    for one in below:
        yield from describe(one)


def _place(action: argparse.Action) -> Place:
    """What may stand where an argument or the value of an option stands."""
    kind: Any = action.type
    if action.choices is not None:
        return Place("words", tuple(map(str, action.choices)))
    if kind is Path:
        return Place("folders" if action.metavar in FOLDERS or action.dest == "state" else "files")
    return Place(_KINDS.get(kind, "any"))


def _help(action: argparse.Action) -> str:
    return "" if action.help in (None, argparse.SUPPRESS) else str(action.help)
