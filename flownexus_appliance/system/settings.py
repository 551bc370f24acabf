"""The configuration as it is in use: what the operator's file says, and over it what was set on the page.

The file stays the operator's and is never written. What the page sets is kept beside the database, in
`settings.toml`, checked like the file when it is read. What is wrong with it keeps nothing from starting: the
field is passed over, and the page says so.
"""

import asyncio
import json
import logging
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from ..errors import ApplianceError, UsageError, clean
from .config import Config, Known, known, load_config, named_in
from .reachable import unusable

NAME: Final = "settings.toml"
HEADER: Final = (
    "# What was set on the page or by `flownexus settings`; it goes before the configuration file.\n"
)
MAX_TEXT: Final = 20_000
# What a setting of the page can be to blame for when the box does not start.
_NOT_STARTED: Final = frozenset({"address_unusable", "port_unavailable"})
_Plain = bool | int | float | str | list[str]
_Key = tuple[str, str]
log = logging.getLogger(__name__)


class SettingsInvalid(UsageError):
    """Fields that cannot be as asked for: `fields` has why, by `section.name`."""

    def __init__(self, fields: Mapping[str, str]) -> None:
        name, why = next(iter(fields.items()))
        super().__init__("setting_invalid", f"{name} is not usable: {why}", "nothing was changed")
        self.fields = dict(fields)


@dataclass(frozen=True, slots=True)
class Entry:
    """A field; values as TOML writes them.

    `value` is what it is from the next start on, `in_use` what it is now, `base` what it is without the page;
    `origin` is default, file or page. `kind` is switch, number, choice, lines or text; `problem` says why
    what the page had set is passed over, or "".
    """

    section: str
    name: str
    value: str
    in_use: str
    base: str
    default: str
    unit: str
    help: str
    origin: str
    kind: str
    choices: tuple[str, ...] = ()
    problem: str = ""

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"


class Settings:
    """What is set, and how to change it; `restart` has the daemon stop in order and start anew."""

    def __init__(self, file: Path | None, path: Path, restart: Callable[[], None] = lambda: None) -> None:
        """The operator's file (None: the defaults), and the page's; raises as `load_config`."""
        self._base = load_config(file)
        self._named = named_in(file)
        self._file = file
        self._path = path
        self._restart = restart
        self._known = {(field.section, field.name): field for field in known()}
        self._set: dict[_Key, _Plain] = {}
        self._wrong: dict[_Key, str] = {}
        self._problems: list[str] = []
        self._read()
        self._in_use = self._with(self._set)
        self._changing = asyncio.Lock()

    @property
    def config(self) -> Config:
        """What the daemon that runs was started with, or is to be."""
        return self._in_use

    def entries(self) -> Sequence[Entry]:
        """Every field, in the order of the sections."""
        return [self._entry(key, field) for key, field in self._known.items()]

    def problems(self) -> Sequence[str]:
        """What of the page's settings is not in use, and why; sentences without their full stop."""
        return [*self._problems, *(f"{'.'.join(key)}: {why}" for key, why in self._wrong.items())]

    def restart_needed(self) -> bool:
        """Whether something was set that is not in use yet."""
        return self._with(self._set) != self._in_use

    def restart(self) -> None:
        """Stop in order and start anew, a moment from now.

        UsageError: config_unreadable, config_invalid. With such a file it would not come back.
        """
        load_config(self._file)
        self._restart()

    def set_aside(self, error: ApplianceError) -> bool:
        """Go back to what the file says, where what was set on the page may be why the box did not start.

        Whoever set it would otherwise have no page any more to mend it on. True when it is worth a try.
        """
        if error.code not in _NOT_STARTED or self._in_use == self._base:
            return False
        self._in_use = self._base
        self._problems.append(f"the box did not start with what was set here: {error.message}")
        log.error(
            "settings set aside", extra={"ERROR_CODE": error.code, "REASON": error.message, "FILE": NAME}
        )
        return True

    async def change(self, changes: Mapping[str, str | None]) -> None:
        """Set fields by `section.name`, as TOML writes values; None: as without the page.

        All of them or none; on disk when it returns, in use after a restart. SettingsInvalid,
        ApplianceError("settings_unwritable").
        """
        async with self._changing:
            wanted, wrong = dict(self._set), dict[str, str]()
            for name, text in changes.items():
                try:
                    key, value = self._wanted(name, text)
                except ValueError as error:
                    wrong[name] = str(error)
                    continue
                if value is None:
                    wanted.pop(key, None)
                else:
                    wanted[key] = value
            if not wrong:
                wrong = await asyncio.to_thread(
                    unusable, self._with(wanted), self._in_use, frozenset(changes)
                )
            if wrong:
                raise SettingsInvalid(wrong)
            try:
                await asyncio.to_thread(_write, self._path, _document(wanted))
            except OSError as error:
                raise ApplianceError(
                    "settings_unwritable",
                    f"cannot write {NAME}: {error.strerror}",
                    "check the space and the owner of the state folder",
                ) from error
            self._set = wanted
            log.info("settings changed", extra={"SETTINGS": " ".join(changes)})
            # What was passed over is no longer in the file.
            self._wrong.clear()
            self._problems.clear()

    def _wanted(self, name: str, text: str | None) -> tuple[_Key, _Plain | None]:
        """What to keep for a field, None for nothing; raises ValueError with words."""
        section, _, field = name.partition(".")
        found = self._known.get((section, field))
        if found is None:
            raise ValueError("there is no such setting")
        if text is None:
            return (section, field), None
        checked = found.check(read(text))
        if checked == self._of(self._base, found):
            return (section, field), None
        return (section, field), plain(checked)

    def _entry(self, key: _Key, field: Known) -> Entry:
        base = self._of(self._base, field)
        value = field.check(self._set[key]) if key in self._set else base
        usual = "file" if key in self._named else "default"
        return Entry(
            field.section,
            field.name,
            write(plain(value)),
            write(plain(self._of(self._in_use, field))),
            write(plain(base)),
            write(plain(field.default)),
            field.unit,
            field.help,
            "page" if key in self._set else usual,
            _kind(field),
            field.choices,
            self._wrong.get(key, ""),
        )

    def _of(self, config: Config, field: Known) -> Any:
        return getattr(getattr(config, field.section), field.name)

    def _with(self, values: Mapping[_Key, _Plain]) -> Config:
        """The file's configuration with these values over it."""
        config = self._base
        for (section, name), value in values.items():
            checked = self._known[section, name].check(value)
            config = replace(config, **{section: replace(getattr(config, section), **{name: checked})})
        return config

    def _read(self) -> None:
        """Take over what the page has set, as far as it can be used."""
        try:
            document = tomllib.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            self._problems.append(f"{NAME} cannot be read, and is passed over: {clean(str(error))}")
            document = {}
        for key, value in _fields(document):
            found = self._known.get(key)
            if found is None:
                self._problems.append(f"{NAME} has {clean('.'.join(key))}, which this version does not know")
                continue
            try:
                self._set[key] = plain(found.check(value))
            except ValueError as error:
                self._wrong[key] = f"{NAME} has {clean(str(value), 40)}, and is passed over: {error}"


def write(value: _Plain) -> str:
    """A value as TOML writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, list):
        return f"[{', '.join(map(write, value))}]"
    # JSON's escapes are TOML's too, but for DEL, which TOML wants written out.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read(text: str) -> Any:
    """The one value that TOML text is; raises ValueError with words."""
    try:
        document = tomllib.loads(f"value = {text}") if len(text) <= MAX_TEXT else {}
    except (ValueError, RecursionError):
        document = {}
    if document.keys() != {"value"}:
        raise ValueError("this is no value as TOML writes them")
    return document["value"]


def plain(value: Any) -> _Plain:
    """A field's value as what TOML has."""
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"no setting can be a {type(value).__name__}")


def _kind(field: Known) -> str:
    if field.choices:
        return "choice"
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "switch"),
        (int, "number"),
        (float, "number"),
        (tuple, "lines"),
    )
    return next((kind for type_, kind in kinds if isinstance(field.default, type_)), "text")


def _fields(document: Mapping[str, Any]) -> Iterator[tuple[_Key, Any]]:
    for section, content in document.items():
        if not isinstance(content, dict):
            yield (section, ""), content
            continue
        for name, value in content.items():
            yield (section, name), value


def _document(values: Mapping[_Key, _Plain]) -> bytes:
    lines = [HEADER]
    for wanted in dict.fromkeys(section for section, _ in values):
        lines.append(f"\n[{wanted}]\n")
        lines += [
            f"{name} = {write(value)}\n" for (section, name), value in values.items() if section == wanted
        ]
    return "".join(lines).encode()


def _write(path: Path, content: bytes) -> None:
    """Put the file in its place whole or not at all, on the disk when this returns; raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    with suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
