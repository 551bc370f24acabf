"""Instances of Security, Server and Access Control as JSON spells them out; both ways, by one table.

The shape is that of Leshan's bootstrap API: bytes are arrays of numbers, enumerations are words,
instances stand under their number. Hexadecimal text for bytes and plain numbers for words are read too.
LwM2M Core 1.1.1 appendix E.1 (Security), E.2 (Server), E.3 (Access Control).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from ..errors import UsageError, clean
from .paths import MAX_ID, Path
from .values import DataType, Record, Value, fit

MAX_INSTANCES: Final = 32  # of one object
MAX_OCTETS: Final = 8192  # of one value
SECURITY: Final = Path((0,))
SERVER: Final = Path((1,))
ACCESS_CONTROL: Final = Path((2,))


class SecurityMode(IntEnum):
    """/0/x/2. EST (4) is not offered: the box enrols by bootstrap itself."""

    PSK = 0
    RPK = 1
    X509 = 2
    NO_SEC = 3


class SmsMode(IntEnum):
    """/0/x/6."""

    DTLS = 1
    SPS = 2
    NO_SEC = 3


class SecurityResource(IntEnum):
    """The resources of Security (0) that the box itself writes."""

    URI = 0
    BOOTSTRAP_SERVER = 1
    MODE = 2
    IDENTITY = 3  # of a PSK, or the device's public key or certificate
    SERVER_PUBLIC_KEY = 4
    SECRET_KEY = 5
    SMS_MODE = 6
    SHORT_SERVER_ID = 10
    CERTIFICATE_USAGE = 15


class ServerResource(IntEnum):
    """The resources of Server (1) that the box itself writes."""

    SHORT_SERVER_ID = 0
    LIFETIME = 1
    DEFAULT_PMIN = 2
    DEFAULT_PMAX = 3
    NOTIFICATION_STORING = 6
    BINDING = 7
    BOOTSTRAP_TRIGGER = 9
    MUTE_SEND = 23


@dataclass(frozen=True, slots=True)
class Instances:
    """Instances with all their values, by path, as configured. They hold keys."""

    records: Mapping[Path, tuple[Record, ...]] = field(repr=False)
    automatic_ids: bool = False

    def of(self, parent: Path) -> Iterator[tuple[Path, tuple[Record, ...]]]:
        """The instances of one object."""
        return ((path, records) for path, records in self.records.items() if parent.covers(path))

    @property
    def secret(self) -> bool:
        """Whether any account is more than NoSec."""
        return any(
            value_of(records, SecurityResource.MODE) != SecurityMode.NO_SEC
            for _, records in self.of(SECURITY)
        )


def value_of(records: tuple[Record, ...], resource: int) -> Value | None:
    """The value of a resource of an instance, None where it is not there."""
    return next((record.value for record in records if record.path[2] == resource), None)


def invalid(where: str, what: str, hint: str = "") -> UsageError:
    """The one error of a configuration: the field, and what is wrong with it; never what is in it."""
    told = f"bootstrap configuration, {clean(where)}: {what}" if where else f"bootstrap configuration: {what}"
    return UsageError(
        "bootstrap_config_invalid", told, hint or "the fields are described in docs/bootstrap.md"
    )


@dataclass(frozen=True, slots=True)
class _Field:
    """One resource: its name in JSON, its number, its type; the words of an enumeration."""

    name: str
    resource: int
    data_type: DataType
    bounds: tuple[int, int] = (0, 2**31 - 1)
    words: type[IntEnum] | None = None
    multiple: bool = False


_ID: Final = (1, MAX_ID)
_BYTE: Final = (0, 255)
_FIELDS: Final[Mapping[int, tuple[_Field, ...]]] = {
    SECURITY[0]: (
        _Field("uri", 0, DataType.STRING),
        _Field("bootstrapServer", 1, DataType.BOOLEAN),
        _Field("securityMode", 2, DataType.INTEGER, (0, 3), SecurityMode),
        _Field("publicKeyOrId", 3, DataType.OPAQUE),
        _Field("serverPublicKey", 4, DataType.OPAQUE),
        _Field("secretKey", 5, DataType.OPAQUE),
        _Field("smsSecurityMode", 6, DataType.INTEGER, _BYTE, SmsMode),
        _Field("smsBindingKeyParam", 7, DataType.OPAQUE),
        _Field("smsBindingKeySecret", 8, DataType.OPAQUE),
        _Field("serverSmsNumber", 9, DataType.STRING),
        _Field("serverId", 10, DataType.INTEGER, (0, MAX_ID + 1)),
        _Field("clientOldOffTime", 11, DataType.INTEGER),
        _Field("bootstrapServerAccountTimeout", 12, DataType.INTEGER),
        _Field("matchingType", 13, DataType.UNSIGNED, (0, 3)),
        _Field("sni", 14, DataType.STRING),
        _Field("certificateUsage", 15, DataType.UNSIGNED, (0, 3)),
        _Field("cipherSuite", 16, DataType.UNSIGNED, (0, 2**32 - 1), multiple=True),
    ),
    SERVER[0]: (
        _Field("shortId", 0, DataType.INTEGER, _ID),
        _Field("lifetime", 1, DataType.INTEGER),
        _Field("defaultMinPeriod", 2, DataType.INTEGER),
        _Field("defaultMaxPeriod", 3, DataType.INTEGER),
        _Field("disableTimeout", 5, DataType.INTEGER),
        _Field("notifIfDisabled", 6, DataType.BOOLEAN),
        _Field("binding", 7, DataType.STRING),
        _Field("trigger", 21, DataType.BOOLEAN),
        _Field("preferredTransport", 22, DataType.STRING),
        _Field("muteSend", 23, DataType.BOOLEAN),
    ),
    ACCESS_CONTROL[0]: (
        _Field("objectId", 0, DataType.INTEGER, _ID),
        _Field("objectInstanceId", 1, DataType.INTEGER, (0, MAX_ID + 1)),
        _Field("acls", 2, DataType.INTEGER, (0, 31), multiple=True),
        _Field("AccessControlOwner", 3, DataType.INTEGER, (0, MAX_ID + 1)),
    ),
}
_SECTIONS: Final[Mapping[str, Path]] = {"security": SECURITY, "servers": SERVER, "acls": ACCESS_CONTROL}
_MANDATORY: Final[Mapping[int, tuple[str, ...]]] = {
    SECURITY[0]: ("uri", "securityMode"),
    SERVER[0]: ("shortId", "lifetime", "binding"),
    ACCESS_CONTROL[0]: ("objectId", "objectInstanceId", "AccessControlOwner"),
}
_DEFAULTS: Final[Mapping[int, Mapping[str, Any]]] = {
    SECURITY[0]: {"bootstrapServer": False, "securityMode": "NO_SEC"},
    SERVER[0]: {"lifetime": 86400, "notifIfDisabled": True, "binding": "U"},
    ACCESS_CONTROL[0]: {},
}
_KEYS_OF: Final[Mapping[SecurityMode, tuple[str, ...]]] = {
    SecurityMode.PSK: ("publicKeyOrId", "secretKey"),
    SecurityMode.RPK: ("publicKeyOrId", "serverPublicKey", "secretKey"),
    SecurityMode.X509: ("publicKeyOrId", "serverPublicKey", "secretKey"),
    SecurityMode.NO_SEC: (),
}


def read_instances(document: Mapping[str, Any]) -> Instances:
    """Read the long form; raises UsageError("bootstrap_config_invalid")."""
    known = {*_SECTIONS, "oscore", "toDelete", "autoIdForSecurityObject", "contentFormat"}
    unknown = next((name for name in document if name not in known), None)
    if unknown is not None:
        raise invalid(unknown, "no such field")
    if document.get("oscore"):
        raise invalid("oscore", "OSCORE is not offered", "use DTLS: securityMode PSK or X509")
    automatic = document.get("autoIdForSecurityObject", False)
    if not isinstance(automatic, bool):
        raise invalid("autoIdForSecurityObject", "neither true nor false")
    records: dict[Path, tuple[Record, ...]] = {}
    for section, parent in _SECTIONS.items():
        for number, body in _numbered(section, document.get(section) or {}):
            path = parent.child(number)
            records[path] = _read_instance(f"{section}.{number}", path, body)
    instances = Instances(records, automatic)
    _check(instances)
    return instances


def format_instances(instances: Instances) -> dict[str, Any]:
    """Write the long form; the inverse of `read_instances`."""
    document: dict[str, Any] = {"autoIdForSecurityObject": instances.automatic_ids}
    for section, parent in _SECTIONS.items():
        document[section] = {
            str(path[1]): _format_instance(path, records) for path, records in instances.of(parent)
        }
    document["oscore"] = {}
    return document


def _numbered(section: str, entries: object) -> Iterator[tuple[int, object]]:
    if not isinstance(entries, dict):
        raise invalid(section, "not an object of instances by their number")
    if len(entries) > MAX_INSTANCES:
        raise invalid(section, f"more than {MAX_INSTANCES} instances")
    seen: set[int] = set()
    for number, body in entries.items():
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and int(number) <= MAX_ID):
            raise invalid(f"{section}.{number}", f"not an instance number from 0 to {MAX_ID}")
        if int(number) in seen:
            raise invalid(f"{section}.{number}", "given twice")
        seen.add(int(number))
        yield int(number), body


def _read_instance(where: str, path: Path, body: object) -> tuple[Record, ...]:
    if not isinstance(body, dict):
        raise invalid(where, "not an object")
    fields = {entry.name: entry for entry in _FIELDS[path[0]]}
    given = {name: value for name, value in body.items() if value is not None}
    unknown = next((name for name in given if name not in fields), None)
    if unknown is not None:
        raise invalid(f"{where}.{unknown}", "no such field")
    given = {**_DEFAULTS[path[0]], **given}
    for name in _MANDATORY[path[0]]:
        if name not in given:
            raise invalid(f"{where}.{name}", "missing")
    return tuple(
        record
        for name, entry in fields.items()
        if name in given
        for record in _read_field(f"{where}.{name}", path.child(entry.resource), entry, given[name])
    )


def _read_field(where: str, path: Path, entry: _Field, given: object) -> Iterator[Record]:
    if not entry.multiple:
        yield Record(path, _read_value(where, entry, given), entry.data_type)
        return
    several = dict(enumerate(given)) if isinstance(given, list) else given
    if not isinstance(several, dict) or len(several) > MAX_INSTANCES:
        raise invalid(where, f"not up to {MAX_INSTANCES} values by their number")
    for number, value in several.items():
        text = str(number)
        if not (text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= MAX_ID):
            raise invalid(where, "not values by their number")
        yield Record(path.child(int(text)), _read_value(f"{where}.{text}", entry, value), entry.data_type)


def _read_value(where: str, entry: _Field, given: object) -> Value:
    if entry.data_type is DataType.OPAQUE:
        return _octets(where, given)
    if entry.words is not None and isinstance(given, str):
        word = given.upper()
        if word not in entry.words.__members__:
            raise invalid(where, f"not one of {', '.join(entry.words.__members__)}")
        return int(entry.words[word])
    value = fit(given, entry.data_type) if isinstance(given, (str, int, float, bool)) else None
    if value is None:
        raise invalid(where, f"not a value of type {entry.data_type.value}")
    if isinstance(value, str) and not (value.isprintable() and len(value.encode("utf-8", "replace")) <= 255):
        raise invalid(where, "not at most 255 bytes of printable text")
    low, high = entry.bounds
    if isinstance(value, int) and not isinstance(value, bool) and not low <= value <= high:
        raise invalid(where, f"not from {low} to {high}")
    return value


def _octets(where: str, given: object) -> bytes:
    """Bytes as numbers, those below zero as Java counts them, or as hexadecimal text."""
    octets = None
    if isinstance(given, list) and all(type(octet) is int and -128 <= octet <= 255 for octet in given):
        octets = bytes(octet & 0xFF for octet in given)
    elif isinstance(given, str):
        try:
            octets = bytes.fromhex(given)
        except ValueError:
            octets = None
    if octets is None:
        raise invalid(where, "neither an array of bytes (0 to 255) nor hexadecimal text")
    if len(octets) > MAX_OCTETS:
        raise invalid(where, f"more than {MAX_OCTETS} bytes")
    return octets


def _check(instances: Instances) -> None:
    """What a client could not make an account of: keys missing, servers without security."""
    servers = {value_of(records, ServerResource.SHORT_SERVER_ID) for _, records in instances.of(SERVER)}
    secured = set()
    for path, records in instances.of(SECURITY):
        where = f"security.{path[1]}"
        if not value_of(records, SecurityResource.URI):
            raise invalid(f"{where}.uri", "missing")
        mode = SecurityMode(int(str(value_of(records, SecurityResource.MODE))))
        names = {entry.name: entry.resource for entry in _FIELDS[SECURITY[0]]}
        for name in _KEYS_OF[mode]:
            if not value_of(records, names[name]):
                raise invalid(f"{where}.{name}", f"missing, which securityMode {mode.name} needs")
        if value_of(records, SecurityResource.BOOTSTRAP_SERVER) is True:
            continue
        short_id = value_of(records, SecurityResource.SHORT_SERVER_ID)
        if short_id not in servers:
            raise invalid(f"{where}.serverId", "no server has it as its shortId")
        secured.add(short_id)
    for path, records in instances.of(SERVER):
        if value_of(records, ServerResource.SHORT_SERVER_ID) not in secured:
            raise invalid(f"servers.{path[1]}.shortId", "no security instance has it as its serverId")


def _format_instance(path: Path, records: tuple[Record, ...]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    for entry in _FIELDS[path[0]]:
        found = [record for record in records if record.path[2] == entry.resource]
        if found and entry.multiple:
            body[entry.name] = {str(record.path[3]): record.value for record in found}
        elif found:
            body[entry.name] = _format_value(entry, found[0].value)
    return body


def _format_value(entry: _Field, value: Value) -> object:
    if isinstance(value, bytes):
        return list(value)
    if entry.words is not None and isinstance(value, int) and value in list(entry.words):
        return entry.words(value).name
    return value
