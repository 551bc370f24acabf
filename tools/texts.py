"""Keeps the catalogues of http/locale in step with the texts in the code: `python -m tools.texts`.

Owns where texts are looked for and how a catalogue is written: new ones come in without a translation, those
that are gone go, and what is not translated, or not rightly, is listed. Babel reads and writes; a text that
changed in English is a new one, because a guess at what it may mean would pass for a translation.
A language is added by a file with its header alone: `cp` the first lines of another one.
"""

import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir, extract_from_file
from babel.messages.pofile import read_po, write_po

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = ROOT / "flownexus_appliance"
WEB: Final = PACKAGE / "http"
# How texts are marked: the functions, and which of their arguments are texts where it is not the first alone.
KEYWORDS: Final = {"_": None, "N_": None, "gettext": None, "n_": (1, 2), "ngettext": (1, 2)}
SOURCES: Final = [
    ("static/vendor/**", "ignore"),
    ("**.py", "python"),
    ("templates/**.html", "jinja2"),
    ("static/js/**.js", "javascript"),
]
OPTIONS: Final = {"templates/**.html": {"trim_blocks": "true", "lstrip_blocks": "true", "silent": "false"}}
# What settings say of themselves stands below http/, where nothing is marked: `_setting(default, help, ...)`.
SETTINGS: Final = PACKAGE / "system" / "config.py"
SETTING_KEYWORDS: Final = {"_setting": (2,)}
WIDTH: Final = 110
# Lines of a header that say who and when, which git knows better, or nothing at all.
_HEADER_NOISE: Final = re.compile(
    rb'"(?:Project-Id-Version|Report-Msgid-Bugs-To|POT-Creation-Date|PO-Revision-Date|Last-Translator'
    rb"|Language-Team|MIME-Version|Generated-By): .*\n"
)
_PLACEHOLDER: Final = re.compile(r"%\((\w+)\)s")


def template() -> Catalog:
    """Every text of the code, with the files it stands in as paths from the root."""
    found = Catalog(charset="utf-8", fuzzy=False)
    options = dict(OPTIONS)
    for name, line, text, _, context in extract_from_dir(WEB, SOURCES, options, KEYWORDS):
        place = (WEB / name).relative_to(ROOT).as_posix()
        found.add(text, None, [(place, line)], context=context)
    for line, text, _, context in extract_from_file("python", SETTINGS, SETTING_KEYWORDS):
        found.add(text, None, [(SETTINGS.relative_to(ROOT).as_posix(), line)], context=context)
    return found


def catalogues() -> list[Path]:
    return sorted((WEB / "locale").glob("*.po"))


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.stem, abort_invalid=True)


def written(catalogue: Catalog) -> bytes:
    """A catalogue as it stands in its file: by the places of texts, without line numbers: they churn."""
    content = BytesIO()
    write_po(content, catalogue, width=WIDTH, sort_by_file=True, ignore_obsolete=True, include_lineno=False)
    return _HEADER_NOISE.sub(b"", content.getvalue())


def update(path: Path, texts: Catalog) -> Catalog:
    """Bring a catalogue's file up to date; the catalogue as it is then."""
    catalogue = read(path)
    catalogue.update(texts, no_fuzzy_matching=True)
    content = written(catalogue)
    if content != path.read_bytes():
        path.write_bytes(content)
    return catalogue


def faults(catalogue: Catalog) -> Iterator[str]:
    """What a catalogue lacks, a line each: translations, and placeholders that match."""
    for message in catalogue:
        if message.id and not all(_forms(message)):
            yield f"{_place(message)}: not translated: {_name(message)}"
        elif message.id and _placeholders(_forms(message)) != _placeholders(_ids(message)):
            yield f"{_place(message)}: other placeholders: {_name(message)}"
    for message, errors in catalogue.check():
        for error in errors if all(_forms(message)) else ():
            yield f"{_place(message)}: {error}: {_name(message)}"


def _forms(message: Message) -> tuple[str, ...]:
    if message.string is None or isinstance(message.string, str):
        return (message.string or "",)
    return tuple(message.string)


def _ids(message: Message) -> tuple[str, ...]:
    return (message.id,) if isinstance(message.id, str) else tuple(message.id)


def _placeholders(texts: tuple[str, ...]) -> set[str]:
    """The names in them: of the forms for one and for many, not each needs every one."""
    return {name for text in texts for name in _PLACEHOLDER.findall(text)}


def _name(message: Message) -> str:
    return _ids(message)[0]


def _place(message: Message) -> str:
    return message.locations[0][0] if message.locations else "?"


def main() -> int:
    """Update all catalogues; the exit code is 1 when one lacks anything."""
    texts = template()
    lacking = 0
    for path in catalogues():
        found = list(faults(update(path, texts)))
        for fault in found:
            print(f"{path.stem}: {fault}")
        print(f"{path.relative_to(ROOT)}: {len(texts)} texts, {len(found)} to do")
        lacking += len(found)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
