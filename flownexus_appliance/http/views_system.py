"""What the pages of the box show: its figures in words, what needs a look, settings as fields, the log."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..errors import clean
from ..system.health import Warn
from ..system.logs import Line
from ..system.settings import write
from .api_certificates import CertificateEntry
from .api_system import SystemState, value_of
from .language import ENGLISH, N_, gettext, language
from .pages_forms import Form, Problem
from .ports_box import SettingEntry
from .views_overview import SERVING, bytes_text

DAY_MS: Final = 86_400_000
# The box renews its certificates a month before; one that is this near its end was not renewed.
ENDING_DAYS: Final = 7
MAX_LINES: Final = 64
_NUMBER: Final = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")

SECTIONS: Final[Mapping[str, str]] = {
    "coap": N_("CoAP without encryption"),
    "dtls": N_("CoAP over DTLS"),
    "certificates": N_("Certificates"),
    "http": N_("Pages and API"),
    "leshan": N_("Leshan's API"),
    "fleet": N_("Devices"),
    "firmware": N_("Firmware"),
    "storage": N_("Storage"),
    "log": N_("Log"),
}
# What a setting is called; one that is not here, by its name in the file.
TITLES: Final[Mapping[str, str]] = {
    "coap.port": N_("Port"),
    "coap.networks": N_("Networks"),
    "dtls.port": N_("Port"),
    "dtls.networks": N_("Networks"),
    "certificates.names": N_("Further names"),
    "certificates.server_days": N_("Valid for"),
    "http.host": N_("Address"),
    "http.port": N_("Port"),
    "leshan.host": N_("Address"),
    "leshan.server_port": N_("Port of the server's API"),
    "leshan.bootstrap_port": N_("Port of the bootstrap server's API"),
    "leshan.anonymous": N_("Without a token"),
    "fleet.watch_list": N_("Resources to observe"),
    "fleet.awake_window_s": N_("Awake window"),
    "fleet.max_plain_endpoints": N_("Devices without a credential"),
    "firmware.host": N_("Address of packages"),
    "firmware.coap": N_("Packages by plain CoAP"),
    "firmware.patience_minutes": N_("Patience without progress"),
    "firmware.comeback_minutes": N_("Time to come back"),
    "storage.keep_samples_days": N_("Keep single values"),
    "log.level": N_("Level"),
}
CHOICES: Final[Mapping[str, str]] = {
    "": N_("Nothing"),
    "viewer": N_("Viewer"),
    "operator": N_("Operator"),
    "admin": N_("Admin"),
    "debug": N_("Debug: everything"),
    "info": N_("Info"),
    "warning": N_("Warning"),
    "error": N_("Error"),
    "true": N_("On"),
    "false": N_("Off"),
}
UNITS: Final[Mapping[str, str]] = {"s": N_("seconds"), "minutes": N_("minutes"), "days": N_("days")}
LEVELS: Final[Mapping[str, str]] = {
    "debug": N_("Debug"),
    "info": N_("Info"),
    "warning": N_("Warning"),
    "error": N_("Error"),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to look at: `level` is warning or danger, `url` where it is mended, or ""."""

    level: str
    title: str
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A setting in its form: `text` is what stands in the input, as typed where it could not be taken."""

    entry: SettingEntry
    title: str
    hint: str
    text: str
    was: str
    base: str
    in_use: str
    unit: str = ""
    reset: bool = False
    problem: Problem | None = None

    @property
    def options(self) -> list[tuple[str, str]]:
        """The choices with their words."""
        known = ("true", "false") if self.entry.kind == "switch" else self.entry.choices
        return [(value, gettext(CHOICES[value]) if value in CHOICES else value) for value in known]


@dataclass(frozen=True, slots=True)
class Section:
    """A card of settings."""

    name: str
    title: str
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class LineView:
    """A line of the log; `seconds` are those of its moment."""

    line: Line
    seconds: str


def notices(
    state: SystemState, certificates: Sequence[CertificateEntry], problems: Sequence[str], now_ms: int
) -> list[Notice]:
    """What somebody should look at, the worst first; none when all is well."""
    found = [_notice(warning) for warning in state.warnings]
    if state.clock_doubt:
        doubt = gettext("Nothing is signed, and what devices tell has wrong times.")
        found.append(Notice("danger", gettext("The clock is not trusted"), doubt, "/certificates"))
    left = days_left(certificates, now_ms)
    if left is not None and left < ENDING_DAYS:
        text = gettext("It should have been renewed by now. The log tells why it was not.")
        found.append(Notice("warning", gettext("A certificate ends soon"), text, "/certificates"))
    found += [
        Notice("warning", gettext("A setting is not in use"), clean(problem, 400), "/system/settings")
        for problem in problems
    ]
    return sorted(found, key=lambda notice: notice.level != "danger")


def days_left(certificates: Sequence[CertificateEntry], now_ms: int) -> int | None:
    """Of the one of the box's own certificates that ends first; None where there is none."""
    ends = [one.not_after_ms for one in certificates if one.kind in SERVING]
    return (min(ends) - now_ms) // DAY_MS if ends else None


def _notice(warning: Warn) -> Notice:
    level = "danger" if warning.danger else "warning"
    size = bytes_text(int(warning.figure))
    match warning.code:
        case "disk_full":
            text = gettext("%(size)s are free. Without room nothing can be kept, and devices get no answer.")
            return Notice(level, gettext("The disk is full"), text % {"size": size})
        case "disk_low":
            text = gettext("%(size)s are free. Make room, or keep samples for a shorter time.")
            return Notice(level, gettext("The disk is nearly full"), text % {"size": size})
        case "memory_low":
            text = gettext("Programs can still have %(size)s. The system ends programs when nothing is left.")
            return Notice(level, gettext("Memory is short"), text % {"size": size})
        case "loop_late":
            text = gettext("The box answered up to %(num)s ms late in the last minute.")
            return Notice(level, gettext("The box is too busy"), text % {"num": int(warning.figure)})
        case "files_low":
            text = gettext("%(num)s files and connections are open, which is nearly all there can be.")
            return Notice(level, gettext("Too much is open"), text % {"num": int(warning.figure)})
    text = gettext("The processor has %(degrees)s °C and runs slower to cool down. Give it air.")
    return Notice(level, gettext("The machine is hot"), text % {"degrees": round(warning.figure)})


def sections(
    entries: Sequence[SettingEntry],
    form: Form | None = None,
    problems: Mapping[str, str] | None = None,
) -> list[Section]:
    """The cards; with what was typed into the section of a `form` that was not taken."""
    typed = form.text("section") if form is not None else ""
    names = dict.fromkeys(entry.section for entry in entries)
    return [
        Section(
            name,
            gettext(SECTIONS[name]) if name in SECTIONS else name,
            tuple(
                _field(entry, form if name == typed else None, (problems or {}).get(entry.key, ""))
                for entry in entries
                if entry.section == name
            ),
        )
        for name in names
    ]


def _field(entry: SettingEntry, form: Form | None, problem: str) -> Field:
    was = _text(entry.value)
    title = TITLES.get(entry.key)
    hint = gettext(entry.help)
    return Field(
        entry,
        gettext(title) if title else entry.name.replace("_", " ").capitalize(),
        f"{hint[:1].upper()}{hint[1:]}.",
        was if form is None else form.text(entry.key),
        was,
        shown(entry, entry.base),
        shown(entry, entry.in_use) if entry.in_use != entry.value else "",
        _unit(entry),
        form is not None and bool(form.text(f"reset:{entry.key}")),
        _problem(entry.key, problem) if problem else None,
    )


def shown(entry: SettingEntry, text: str) -> str:
    """A value of a setting in words, out of what TOML writes."""
    plain = _text(text)
    if entry.kind in ("choice", "switch") and plain in CHOICES:
        return gettext(CHOICES[plain])
    if entry.kind == "lines":
        return ", ".join(plain.splitlines()) or gettext("none")
    return f"{plain} {_unit(entry)}".strip()


def _unit(entry: SettingEntry) -> str:
    return gettext(UNITS[entry.unit]) if entry.unit in UNITS else entry.unit


def wanted(entries: Sequence[SettingEntry], form: Form) -> tuple[dict[str, str | None], dict[str, str]]:
    """What a form of a section asks for, as TOML writes it, and what of it cannot be; by `section.name`.

    A field that nobody touched asks for nothing, so two people at work undo nothing of each other's.
    """
    changes: dict[str, str | None] = {}
    problems: dict[str, str] = {}
    for entry in entries:
        if entry.section != form.text("section") or entry.key not in form.fields:
            continue
        text = form.text(entry.key)
        if form.text(f"reset:{entry.key}"):
            changes[entry.key] = None
        elif text.splitlines() != form.text(f"was:{entry.key}").splitlines():
            try:
                changes[entry.key] = _toml(entry, text)
            except ValueError as error:
                problems[entry.key] = str(error)
    return changes, problems


def _toml(entry: SettingEntry, text: str) -> str:
    """What was typed as TOML writes it; raises ValueError with words."""
    match entry.kind:
        case "switch":
            return "true" if text == "true" else "false"
        case "number":
            if not _NUMBER.fullmatch(text):
                raise ValueError(f"give a number, not {clean(text, 40)}" if text else "give a number")
            return write(float(text) if "." in text else int(text))
        case "lines":
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if len(lines) > MAX_LINES:
                raise ValueError(f"give at most {MAX_LINES} lines")
            return write(lines)
    return write(text)


def _text(toml: str) -> str:
    """A value as it stands in an input."""
    value = value_of(toml)
    if isinstance(value, list):
        return "\n".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(key: str, why: str) -> Problem:
    if language() is ENGLISH:
        return Problem(key, why, "", 400, "setting_invalid")
    return Problem(key, gettext("this value cannot be used"), "", 400, "setting_invalid", why)


def line_views(lines: Sequence[Line]) -> list[LineView]:
    """Lines of the log for the page."""
    return [LineView(line, f"{line.time_ms // 1000 % 60:02}") for line in lines]
