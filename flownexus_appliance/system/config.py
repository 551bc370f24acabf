"""The configuration: one TOML file to one frozen dataclass.

Every field has a default and carries its unit, help and whether a change needs a restart. All
mistakes of a file are reported at once, each with its line.
"""

import ipaddress
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ..errors import ApplianceError, UsageError
from ..lwm2m.firmware import MAX_URI, PACKAGE_PATH
from ..lwm2m.presence import AWAKE_WINDOW_S
from ..lwm2m.registration import MAX_PLAIN_ENDPOINTS
from ..lwm2m.watch import DEFAULT_WATCH_LIST, WatchPattern

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# A name or an address; what it is in detail the certificate's maker finds out.
_NAME: Final = re.compile(r"[0-9A-Za-z.:-]{1,253}")
# What a device's Package URI has room for beside the port and the ticket of twelve characters.
MAX_PACKAGE_HOST: Final = MAX_URI - len(f"https://[]:65535/{PACKAGE_PATH}/") - 12
# Without the last label as a number: that is an address, or would be one.
_HOST_NAME: Final = re.compile(
    rf"(?=.{{1,{MAX_PACKAGE_HOST}}}$)(?!(.*\.)?[0-9]+$)[0-9A-Za-z]([0-9A-Za-z.-]*[0-9A-Za-z])?"
)
# Three seconds: rotation sped up, to see it happen.
MIN_SERVER_DAYS: Final = 3 / 86_400
# As access.roles.Role has them.
ROLES: Final = ("viewer", "operator", "admin")
LOG_LEVELS: Final = ("debug", "info", "warning", "error")


def _setting(
    default: Any,
    help_text: str,
    check: Callable[[Any], Any],
    unit: str = "",
    choices: tuple[str, ...] = (),
) -> Any:
    """A field: `check` turns the TOML value into the field's, or raises ValueError with words.

    `choices` are the only values there are, where they are few.
    """
    return field(
        default=default,
        metadata={"help": help_text, "unit": unit, "check": check, "restart": True, "choices": choices},
    )


def _port(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ValueError("a port is a number from 1 to 65535 (0 lets the system choose)")


def _port_or_off(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 65535:
        return value
    raise ValueError("a port is a number from 1 to 65535 (0 turns it off)")


def _host(value: Any) -> str:
    try:
        if isinstance(value, str):  # a number would be an address to ipaddress
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise ValueError('give an IP address in quotes, such as "127.0.0.1"')


def _package_host(value: Any) -> str:
    try:
        if isinstance(value, str) and "%" not in value:  # a zone has no meaning to others
            return value if _HOST_NAME.fullmatch(value) else str(ipaddress.ip_address(value or "-"))
    except ValueError:
        if not value:
            return ""
    raise ValueError(
        f"give a name or an IP address without a port, of at most {MAX_PACKAGE_HOST} characters,"
        ' or "" for the address that devices reach the box by'
    )


def _networks(value: Any) -> tuple[Network, ...]:
    try:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(ipaddress.ip_network(item) for item in value)
    except ValueError:
        pass
    raise ValueError('give a list of networks, such as ["127.0.0.0/8", "192.168.1.0/24"]')


def _watch_list(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('give a list of paths, such as ["/*/*/5700", "/3/0/9"]')
    for item in value:
        try:
            WatchPattern.parse(item)
        except UsageError as error:
            raise ValueError(f"{error.message}; {error.hint}") from None
    return tuple(value)


def _window(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 1 <= value <= 86_400:
        return float(value)
    raise ValueError("give seconds from 1 to 86400")


def _count(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 1_000_000:
        return value
    raise ValueError("give a number from 0 to 1000000")


def _keep_days(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 36_500:
        return value
    raise ValueError("give days from 1 to 36500, or 0 for ever")


def _minutes(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1440:
        return value
    raise ValueError("give minutes from 1 to 1440")


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise ValueError("give true or false")


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and all(isinstance(item, str) and _NAME.fullmatch(item) for item in value):
        return tuple(value)
    raise ValueError('give a list of names and addresses, such as ["box.example.org", "192.0.2.7"]')


def _days(value: Any) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and MIN_SERVER_DAYS <= value <= 820:
        return float(value)
    raise ValueError("give days, at most 820")


def _level(value: Any) -> str:
    if value in LOG_LEVELS:
        return str(value)
    raise ValueError(f"give one of {', '.join(LOG_LEVELS)}")


def _role_or_none(value: Any) -> str:
    if value in ("", *ROLES):
        return str(value)
    raise ValueError(f'give one of {", ".join(ROLES)}, or "" for nothing')


LOOPBACK: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)


@dataclass(frozen=True, slots=True)
class CoapConfig:
    port: int = _setting(5683, "UDP port of plain CoAP", _port)
    networks: tuple[Network, ...] = _setting(
        LOOPBACK,
        "networks whose devices may speak plain CoAP, unencrypted; an empty list turns it off",
        _networks,
    )


EVERYWHERE: Final[tuple[Network, ...]] = (
    ipaddress.ip_network("0.0.0.0/0"),
    ipaddress.ip_network("::/0"),
)


@dataclass(frozen=True, slots=True)
class DtlsConfig:
    port: int = _setting(5684, "UDP port of CoAP over DTLS", _port)
    networks: tuple[Network, ...] = _setting(
        EVERYWHERE, "networks whose devices may speak CoAP over DTLS; an empty list turns it off", _networks
    )


@dataclass(frozen=True, slots=True)
class CertificatesConfig:
    names: tuple[str, ...] = _setting(
        (),
        "further names and addresses that the box is reached by, for its server certificates",
        _names,
    )
    server_days: float = _setting(
        90.0,
        "how long a server certificate is valid; the next one is made at two thirds of it",
        _days,
        "days",
    )


@dataclass(frozen=True, slots=True)
class HttpConfig:
    host: str = _setting("::", 'address that the web pages and the API listen on; "::" is all of them', _host)
    port: int = _setting(8443, "TCP port of the web pages and the API", _port)


@dataclass(frozen=True, slots=True)
class LeshanConfig:
    """Leshan's API at /api in plain HTTP; below /leshan/api it is served in any case."""

    host: str = _setting("127.0.0.1", "address that Leshan's API alone listens on, in plain HTTP", _host)
    server_port: int = _setting(
        0, "TCP port of the API of Leshan's server, 8080 with Leshan; 0 turns it off", _port_or_off
    )
    bootstrap_port: int = _setting(
        0, "TCP port of the API of Leshan's bootstrap server, 8081 with Leshan; 0 turns it off", _port_or_off
    )
    anonymous: str = _setting(
        "",
        "what those who bring no API token may do there: viewer, operator or admin; empty: nothing",
        _role_or_none,
        choices=("", *ROLES),
    )


@dataclass(frozen=True, slots=True)
class FleetConfig:
    watch_list: tuple[str, ...] = _setting(
        DEFAULT_WATCH_LIST, "resources to observe on every device; * stands for any", _watch_list
    )
    awake_window_s: float = _setting(
        AWAKE_WINDOW_S,
        "how long a Queue Mode device is taken to listen after it was heard",
        _window,
        "s",
    )
    max_plain_endpoints: int = _setting(
        MAX_PLAIN_ENDPOINTS,
        "how many devices without a credential may register over plain CoAP, ever; further names are refused",
        _count,
    )


@dataclass(frozen=True, slots=True)
class FirmwareConfig:
    """How packages get to devices, and how long an update may take: docs/firmware.md."""

    host: str = _setting(
        "",
        "name or address of the box in the address of a package; empty: the one that a device reaches it by",
        _package_host,
    )
    coap: bool = _setting(
        True, "whether devices may fetch packages by plain CoAP, where their network may speak it", _switch
    )
    patience_minutes: int = _setting(
        30, "how long an update may go without progress while its device listens", _minutes, "minutes"
    )
    comeback_minutes: int = _setting(
        30, "how long a device may stay away after it was told to install a package", _minutes, "minutes"
    )


@dataclass(frozen=True, slots=True)
class StorageConfig:
    keep_samples_days: int = _setting(
        730,
        "how long single values are kept; their least, mean and greatest by 5 minutes, hours and days stay;"
        " 0 is for ever",
        _keep_days,
        "days",
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    level: str = _setting("info", "least severe messages to write", _level, choices=LOG_LEVELS)


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration, section by section."""

    coap: CoapConfig = CoapConfig()
    dtls: DtlsConfig = DtlsConfig()
    certificates: CertificatesConfig = CertificatesConfig()
    http: HttpConfig = HttpConfig()
    leshan: LeshanConfig = LeshanConfig()
    fleet: FleetConfig = FleetConfig()
    firmware: FirmwareConfig = FirmwareConfig()
    storage: StorageConfig = StorageConfig()
    log: LogConfig = LogConfig()


_SECTIONS: Final[Mapping[str, type[Any]]] = {
    "coap": CoapConfig,
    "dtls": DtlsConfig,
    "certificates": CertificatesConfig,
    "http": HttpConfig,
    "leshan": LeshanConfig,
    "fleet": FleetConfig,
    "firmware": FirmwareConfig,
    "storage": StorageConfig,
    "log": LogConfig,
}


_HEADER: Final = re.compile(r"\s*\[+([^\]]+)\]")
_ENTRY: Final = re.compile(r"([^=#]+)=")
_PLAIN: Final = re.compile(r"[\s\"']")  # what TOML allows around the parts of a name


def load_config(path: Path | None) -> Config:
    """Read a configuration file; None gives the defaults.

    Raises UsageError("config_unreadable") and UsageError("config_invalid"), whose message lists
    every mistake with its line.
    """
    if path is None:
        return Config()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "config_unreadable", f"cannot read {path}: {error}", "check its name, owner and encoding"
        ) from error
    return parse_config(text, path.name)


def parse_config(text: str, name: str = "configuration") -> Config:
    """Read a configuration from TOML text; raises UsageError("config_invalid")."""
    try:
        document = tomllib.loads(text)
    except ValueError as error:  # TOMLDecodeError, and what int() says of too many digits
        raise _invalid(name, [str(error)]) from error
    mistakes: list[str] = []
    sections: dict[str, Any] = {}
    for section, content in document.items():
        kind = _SECTIONS.get(section)
        if kind is None or not isinstance(content, dict):
            mistakes.append(f"{_line(text, section, None)}: no section [{section}]")
            continue
        values = dict(_read_section(text, section, kind, content, mistakes))
        sections[section] = kind(**values)
    if mistakes:
        raise _invalid(name, mistakes)
    return Config(**sections)


@dataclass(frozen=True, slots=True)
class Known:
    """A field that there is; `check` turns a TOML value into the field's, or raises ValueError with words."""

    section: str
    name: str
    default: Any
    unit: str
    help: str
    choices: tuple[str, ...]
    check: Callable[[Any], Any]


def known() -> Iterator[Known]:
    """Every field, in the order of the sections."""
    for section, kind in _SECTIONS.items():
        for entry in fields(kind):
            told = entry.metadata
            yield Known(
                section, entry.name, entry.default, told["unit"], told["help"], told["choices"], told["check"]
            )


def describe() -> Iterator[tuple[str, str, Any, str, str]]:
    """Every field: section, name, default, unit, help."""
    for entry in known():
        yield entry.section, entry.name, entry.default, entry.unit, entry.help


def named_in(path: Path | None) -> frozenset[tuple[str, str]]:
    """The section and name of every field that a configuration file sets, which `load_config` has taken."""
    if path is None:
        return frozenset()
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return frozenset((section, name) for section, content in document.items() for name in content)


def _read_section(
    text: str, section: str, kind: type[Any], content: Mapping[str, Any], mistakes: list[str]
) -> Iterator[tuple[str, Any]]:
    known = {entry.name: entry for entry in fields(kind)}
    for key, value in content.items():
        entry = known.get(key)
        if entry is None:
            names = ", ".join(known)
            mistakes.append(f"{_line(text, section, key)}: no field {key} in [{section}] ({names})")
            continue
        try:
            yield key, entry.metadata["check"](value)
        except ValueError as error:
            mistakes.append(f"{_line(text, section, key)}: {section}.{key}: {error}")


def _line(text: str, section: str, key: str | None) -> str:
    """Where a section or field stands, for the operator: "line 12".

    A field may stand below its section's header, dotted (`coap.port = 1`) or in a table on one line
    (`coap = {port = 1}`); a name in place of a field may be a header of its own (`[coap.tls]`).
    """
    wanted = section if key is None else f"{section}.{key}"
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        entry = None if header else _ENTRY.match(line)
        if header:
            current = here = _PLAIN.sub("", header[1])
        elif entry:
            here = f"{current}.{_PLAIN.sub('', entry[1])}".lstrip(".")
        else:
            continue
        if here == wanted or here.startswith(f"{wanted}.") or (entry and wanted.startswith(f"{here}.")):
            return f"line {number}"
    return "line ?"


def _invalid(name: str, mistakes: list[str]) -> ApplianceError:
    listed = "\n  ".join(mistakes)
    return UsageError(
        "config_invalid", f"{name} has mistakes:\n  {listed}", "mend the lines named and start again"
    )
