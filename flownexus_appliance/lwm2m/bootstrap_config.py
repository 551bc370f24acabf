"""What devices are given at bootstrap, as the operator configures it; JSON in and out.

Two forms. The short one says what kind of security, where to and how long; the rest is made for each
device. The long one spells out every instance, in the shape that Leshan's bootstrap API takes and
gives, and nothing is made. LwM2M Core 1.1.1 6.1 (Bootstrap Interface), appendix E: objects 0, 1, 2.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final

from ..errors import ApplianceError
from .bootstrap_instances import (
    ACCESS_CONTROL,
    SECURITY,
    SERVER,
    Instances,
    format_instances,
    invalid,
    read_instances,
)
from .content_formats import ContentFormat
from .paths import MAX_ID, Path
from .plain import PlainValue
from .registration import DEFAULT_LIFETIME_S

MAX_TEXT_BYTES: Final = 64 * 1024
MAX_WRITES: Final = 64
MAX_PATHS: Final = 64
MAX_PERIOD_S: Final = 2**31 - 1
DAY_S: Final = 86_400
# A device may sleep for weeks, and whoever looks after it wants to hear in time that it does not renew.
RENEW_BEFORE_S: Final = 30 * DAY_S
OSCORE: Final = 21
# What a Bootstrap-Write can be in: LwM2M Core 1.1.1 7.4, 1.2 7.4.
WRITE_FORMATS: Final = (
    ContentFormat.TLV,
    ContentFormat.SENML_CBOR,
    ContentFormat.SENML_JSON,
    ContentFormat.LWM2M_CBOR,
    ContentFormat.JSON,
)
_URI: Final = re.compile(r"(coaps?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?")
_BINDING: Final = re.compile(r"[UTSNMHQ]{1,8}")
_LONG_FORM: Final = frozenset({"servers", "acls", "oscore", "toDelete", "autoIdForSecurityObject"})


class Security(StrEnum):
    """How the account that a device gets is protected, in the short form.

    AS_IS: by the kind of credential that the device came with. A PSK is kept, or made anew for a
    device that enrolled; a certificate is made anew, for the box never had the old one's key.
    """

    AS_IS = "as_is"
    PSK = "psk"
    CERTIFICATE = "certificate"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class BootstrapConfig:
    """What a device is given.

    `uri` is where it registers, "" for the address at which it reached us. `default_pmin_s`,
    `default_pmax_s` and `mute_send` are left out of the account where None. `delete` are the paths
    to clear first, `read` those to read for the operator's information, `writes` further resources.
    `renew_before_s` before its certificate ends a device is asked to come again. `content_format` is
    what to write in, None for what the device prefers. With `instances`, the long form, only
    `delete` and `content_format` of the rest count.
    """

    security: Security = Security.AS_IS
    uri: str = ""
    lifetime_s: int = DEFAULT_LIFETIME_S
    binding: str = "U"
    short_server_id: int = 1
    default_pmin_s: int | None = None
    default_pmax_s: int | None = None
    mute_send: bool | None = None
    delete: tuple[Path, ...] = (SECURITY, SERVER)
    read: tuple[Path, ...] = ()
    writes: Mapping[Path, PlainValue] = field(default_factory=dict)
    renew_before_s: int = RENEW_BEFORE_S
    content_format: int | None = None
    instances: Instances | None = field(default=None, repr=False)

    @property
    def secure(self) -> bool:
        """Whether it holds or makes a secret, which must not travel in the clear."""
        if self.instances is not None:
            return self.instances.secret
        return self.security is not Security.NONE


def parse_config(text: str) -> BootstrapConfig:
    """Read a configuration from JSON text; raises UsageError("bootstrap_config_invalid")."""
    if len(text.encode("utf-8", "replace")) > MAX_TEXT_BYTES:
        raise invalid("", f"more than {MAX_TEXT_BYTES} bytes")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise invalid("", "not JSON") from None
    return read_config(document)


def read_config(document: object) -> BootstrapConfig:
    """As `parse_config`, from JSON that was read already."""
    if not isinstance(document, dict):
        raise invalid("", "not a JSON object")
    if _LONG_FORM & document.keys() or isinstance(document.get("security"), dict):
        return _read_long(document)
    unknown = next((name for name in document if name not in _READERS), None)
    if unknown is not None:
        raise invalid(str(unknown), "no such field", f"the fields are {', '.join(_READERS)}")
    config = BootstrapConfig(
        **{name: _READERS[name](name, value) for name, value in document.items() if value is not None}
    )
    _check(config)
    return config


def format_config(config: BootstrapConfig) -> str:
    """Write a configuration as JSON text, which `parse_config` reads to the same."""
    return json.dumps(plain_config(config), separators=(",", ":"), ensure_ascii=False)


def plain_config(config: BootstrapConfig) -> dict[str, Any]:
    """A configuration as JSON has it. The long form holds its secrets: it is for nobody's eyes."""
    if config.instances is not None:
        document = format_instances(config.instances)
        document["toDelete"] = [str(path) for path in config.delete]
        if config.content_format is not None:
            document["contentFormat"] = ContentFormat(config.content_format).name
        return document
    document = {entry.name: getattr(config, entry.name) for entry in fields(config)}
    del document["instances"]
    document["security"] = config.security.value
    document["uri"] = config.uri or None
    document["delete"] = [str(path) for path in config.delete]
    document["read"] = [str(path) for path in config.read]
    document["writes"] = {str(path): value for path, value in config.writes.items()}
    return document


def _read_long(document: dict[str, Any]) -> BootstrapConfig:
    wanted = document.get("contentFormat")
    return BootstrapConfig(
        instances=read_instances(document),
        delete=_paths("toDelete", document.get("toDelete") or []),
        content_format=None if wanted is None else _content_format("contentFormat", wanted),
    )


def _check(config: BootstrapConfig) -> None:
    """What the fields must be to each other."""
    if config.uri:
        scheme = "coap" if config.security is Security.NONE else "coaps"
        if config.uri.partition(":")[0] != scheme:
            raise invalid("uri", f"security {config.security.value} goes with {scheme}://")
    if None not in (pair := (config.default_pmin_s, config.default_pmax_s)):
        pmin, pmax = pair
        if pmax and pmin and pmin > pmax:
            raise invalid("default_pmin_s", "more than default_pmax_s")


def _text(where: str, given: object, pattern: re.Pattern[str], hint: str) -> str:
    if not isinstance(given, str) or len(given) > 255 or pattern.fullmatch(given) is None:
        raise invalid(where, "not usable", hint)
    return given


def _uri(where: str, given: object) -> str:
    uri = _text(where, given, _URI, "write it as coaps://box.example:5684")
    port = uri.rstrip("/").rpartition(":")[2]
    if port.isdigit() and not 0 < int(port) < 65536:
        raise invalid(where, "not a port", "write it as coaps://box.example:5684")
    return uri


def _binding(where: str, given: object) -> str:
    return _text(where, given, _BINDING, "U, or UQ for a LwM2M 1.0 device in Queue Mode")


def _security(where: str, given: object) -> Security:
    if not isinstance(given, str) or given not in list(Security):
        raise invalid(where, f"not one of {', '.join(Security)}")
    return Security(given)


def _number(low: int, high: int) -> Callable[[str, object], int]:
    def read(where: str, given: object) -> int:
        if type(given) is not int or not low <= given <= high:
            raise invalid(where, f"not a whole number from {low} to {high}")
        return given

    return read


def _boolean(where: str, given: object) -> bool:
    if not isinstance(given, bool):
        raise invalid(where, "neither true nor false")
    return given


def _path(where: str, given: object, deepest: int, lowest: int = 0) -> Path:
    try:
        path = Path.parse(given if isinstance(given, str) else "-")
    except ApplianceError:
        path = None
    if path is None or not lowest <= len(path) <= deepest:
        raise invalid(where, f"not a path of {lowest} to {deepest} numbers", "write it as /3/0")
    return path


def _paths(where: str, given: object) -> tuple[Path, ...]:
    """Paths to delete: the root, objects or instances (LwM2M Core 1.1.1 6.1.7.5)."""
    if not isinstance(given, list) or len(given) > MAX_PATHS:
        raise invalid(where, f"not a list of up to {MAX_PATHS} paths")
    return tuple(_path(where, text, 2) for text in given)


def _read_paths(where: str, given: object) -> tuple[Path, ...]:
    """LwM2M Core 1.1.1 6.1.7.2: Bootstrap-Read is for Server and Access Control alone."""
    paths = _paths(where, given)
    if any(not path or path[0] not in (SERVER[0], ACCESS_CONTROL[0]) for path in paths):
        raise invalid(where, "only /1 and /2, and their instances, can be read in bootstrap")
    return paths


def _writes(where: str, given: object) -> Mapping[Path, PlainValue]:
    if not isinstance(given, dict) or len(given) > MAX_WRITES:
        raise invalid(where, f"not up to {MAX_WRITES} values by their path")
    writes: dict[Path, PlainValue] = {}
    for text, value in given.items():
        path = _path(f"{where}.{text}", text, 4, 3)
        if path[0] <= ACCESS_CONTROL[0] or path[0] == OSCORE:
            raise invalid(f"{where}.{text}", "accounts are not written this way", "use the other fields")
        if not isinstance(value, (str, int, float, bool)):
            raise invalid(f"{where}.{text}", "neither text nor number nor true nor false")
        writes[path] = value
    return writes


def _content_format(where: str, given: object) -> int:
    """A number, or a name as Leshan has it."""
    for known in WRITE_FORMATS:
        if given == known.name or (type(given) is int and given == known):
            return int(known)
    raise invalid(where, f"not one of {', '.join(f'{known.name} ({known})' for known in WRITE_FORMATS)}")


_READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "security": _security,
    "uri": _uri,
    "lifetime_s": _number(1, MAX_PERIOD_S),
    "binding": _binding,
    "short_server_id": _number(1, MAX_ID),
    "default_pmin_s": _number(0, MAX_PERIOD_S),
    "default_pmax_s": _number(0, MAX_PERIOD_S),
    "mute_send": _boolean,
    "delete": _paths,
    "read": _read_paths,
    "writes": _writes,
    "renew_before_s": _number(0, MAX_PERIOD_S),
    "content_format": _content_format,
}
