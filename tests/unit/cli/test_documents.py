"""docs/command-line.md keeps up with the commands."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path

from flownexus_appliance.cli import given, output
from flownexus_appliance.cli.main import make_parser

TEXT = (Path(__file__).parents[3] / "docs" / "command-line.md").read_text(encoding="utf-8")


def commands(parser: argparse.ArgumentParser, words: str = "flownexus") -> Iterator[tuple[str, set[str]]]:
    """Every command that does something, with its options."""
    deeper = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in deeper:
        for name, chosen in action.choices.items():
            yield from commands(chosen, f"{words} {name}")
    if not deeper:
        yield words, {text for action in parser._actions for text in action.option_strings if "--" in text}


def test_every_command_is_described_and_no_other() -> None:
    described = set(re.findall(r"^\| `(flownexus [a-z -]+)` \|", TEXT, re.MULTILINE))
    assert described == {words for words, _ in commands(make_parser())}


def test_every_option_is_described() -> None:
    for words, options in commands(make_parser()):
        if words == "flownexus sim":
            continue  # simulator.md, and --help
        for option in options - {"--help"}:
            assert re.search(rf"{option}\b", TEXT), f"{words} {option}"


def test_every_exit_code_is_described() -> None:
    described = set(map(int, re.findall(r"^\| (\d+) \|", TEXT, re.MULTILINE)))
    codes = {output.DONE, output.REFUSED, output.UNUSABLE, output.WAITING, output.ENDED, output.INTERRUPTED}
    assert described == codes


def test_every_form_is_described() -> None:
    assert set(re.findall(r"^\| `([a-z][a-z-]*)` \|", TEXT, re.MULTILINE)) == set(given.FORMS)
