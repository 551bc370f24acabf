"""From a configuration to the ordered requests that give a device its accounts.

LwM2M Core 1.1.1 6.1.7 (Bootstrap-Discover, -Read, -Delete, -Write, -Finish), 1.2 6.1.7.7 (Bootstrap-Pack);
appendix E for the objects. The instance of the Bootstrap-Server Account is the device's only way back
here: it is never written, wherever the device has it.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from . import codecs
from .bootstrap_config import WRITE_FORMATS, BootstrapConfig, Security
from .bootstrap_instances import (
    ACCESS_CONTROL,
    SECURITY,
    SERVER,
    Instances,
    SecurityMode,
    SecurityResource,
    ServerResource,
    SmsMode,
    value_of,
)
from .links import Link
from .paths import MAX_ID, Path
from .plain import from_plain
from .values import DataType, Record, TypeLookup, Value, natural_type

# Zephyr's buffer for a whole instance; what is larger goes resource by resource.
MAX_INSTANCE_BYTES: Final = 1000
# Where a client has its accounts that cannot be asked: the bootstrap account first, the server's next.
USUAL_SECURITY: Final = 1
USUAL_SERVER: Final = 0
# The root that the device gets is an anchor of the server's chain (RFC 6698 2.1.1), not the server's
# certificate itself, which is what a client assumes that is told nothing.
TRUST_ANCHOR: Final = 2
# What every client has. The others go one by one: Zephyr refuses an instance in SenML for one resource
# that it does not know, and wakaama does in any format.
_CORE: Final[Mapping[int, AbstractSet[int]]] = {
    SECURITY[0]: frozenset({0, 1, 2, 3, 4, 5, 10}),
    SERVER[0]: frozenset({0, 1, 6, 7}),
    ACCESS_CONTROL[0]: frozenset({0, 1, 2, 3}),
}
_KEYS: Final = frozenset(
    {SecurityResource.IDENTITY, SecurityResource.SERVER_PUBLIC_KEY, SecurityResource.SECRET_KEY}
)
_SHORT_SERVER_IDS: Final = range(1, MAX_ID + 1)


class Operation(StrEnum):
    """The Bootstrap-Server's operations (LwM2M Core 1.1.1 table 6.1.7)."""

    DISCOVER = "discover"
    READ = "read"
    DELETE = "delete"
    WRITE = "write"
    FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Step:
    """One request. When the device refuses one that is `needed`, the bootstrap has failed.

    `opaque`: the one value of `records` goes as it is, Content-Format 42.
    """

    operation: Operation
    path: Path = Path.ROOT
    records: tuple[Record, ...] = field(default=(), repr=False)
    needed: bool = False
    opaque: bool = False


@dataclass(frozen=True, slots=True)
class PskMaterial:
    """What a device proves itself by: identity and key of a pre-shared key."""

    identity: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateMaterial:
    """What a device proves itself by, and the server to it: all as DER, the key as PKCS#8."""

    certificate: bytes
    key: bytes = field(repr=False)
    root: bytes


Material = PskMaterial | CertificateMaterial | None
Accounts = Mapping[Path, tuple[Record, ...]]


def opening(config: BootstrapConfig, discovers: bool) -> tuple[Step, ...]:
    """What to ask before anything is changed; `discovers`: the client speaks 1.1 or later."""
    automatic = config.instances is not None and config.instances.automatic_ids
    discover = (Step(Operation.DISCOVER),) if discovers or automatic else ()
    return discover + (tuple(Step(Operation.READ, path) for path in config.read) if discovers else ())


def plan(
    config: BootstrapConfig,
    material: Material,
    uri: str,
    types: TypeLookup,
    links: Sequence[Link] | None = None,
) -> tuple[Step, ...]:
    """The steps that change the device, in order.

    `links` are the answer to Bootstrap-Discover, None where there is none; `uri` is where the device
    is to register, where the configuration does not say. Raises UsageError("value_invalid") for a
    value in `config.writes` that is not of its resource's type.
    """
    steps = [Step(Operation.DELETE, path) for path in config.delete]
    for path, records in accounts(config, material, uri, links).items():
        steps += _instance_steps(path, records)
    for path, records in extra_writes(config, types).items():
        steps.append(Step(Operation.WRITE, path, records))
    steps.append(Step(Operation.FINISH, needed=True))
    return tuple(steps)


def pack(
    config: BootstrapConfig, material: Material, uri: str, types: TypeLookup, content_format: int
) -> bytes:
    """Everything in one payload, for Bootstrap-Pack; raises as `plan`."""
    records = [*accounts(config, material, uri, None).values(), *extra_writes(config, types).values()]
    return codecs.encode(content_format, [r for group in records for r in group], base=Path.ROOT)


def accounts(config: BootstrapConfig, material: Material, uri: str, links: Sequence[Link] | None) -> Accounts:
    """The instances of Security, Server and Access Control to write, by their path, in order."""
    listing = _Listing.of(links, config.delete)
    if config.instances is not None:
        return _spelled_out(config.instances, listing)
    security = SECURITY.child(listing.security(config.short_server_id))
    server = SERVER.child(listing.server(config.short_server_id))
    return {
        security: _security(security, config, material, uri),
        server: _server(server, config),
    }


def extra_writes(config: BootstrapConfig, types: TypeLookup) -> Accounts:
    """The further values to write, by resource; raises UsageError("value_invalid")."""
    found: dict[Path, tuple[Record, ...]] = {}
    for path, plain in config.writes.items():
        data_type = types(path) or natural_type(plain)
        record = Record(path, from_plain(plain, data_type), data_type)
        found[path.resource] = (*found.get(path.resource, ()), record)
    return found


@dataclass(frozen=True, slots=True)
class _Listing:
    """The instances of a device: by number the Short Server ID, None for the bootstrap account.

    `None` in place of a table: the device did not tell. `deleted` are the paths cleared before.
    """

    security_ids: Mapping[int, int | None] | None
    server_ids: Mapping[int, int | None] | None
    deleted: tuple[Path, ...]

    @classmethod
    def of(cls, links: Sequence[Link] | None, deleted: tuple[Path, ...]) -> "_Listing":
        if links is None:
            return cls(None, None, deleted)
        found: dict[int, dict[int, int | None]] = {SECURITY[0]: {}, SERVER[0]: {}}
        for link in links:
            path = _instance_of(link.target)
            if path is not None and path[0] in found:
                # One that is told twice, once without a number, may be the bootstrap account.
                short_id = _short_server_id(link)
                known = found[path[0]].setdefault(path[1], short_id)
                found[path[0]][path[1]] = short_id if known == short_id else None
        # A device that names no Security instance, though it came by one, keeps them to itself.
        return cls(found[SECURITY[0]] or None, found[SERVER[0]], deleted)

    @property
    def bootstrap(self) -> frozenset[int]:
        """Where the bootstrap account is, or may be, by what the device told."""
        return frozenset(number for number, short_id in (self.security_ids or {}).items() if short_id is None)

    @property
    def occupied(self) -> frozenset[int]:
        """The Security instances that are there when it comes to writing."""
        if self.security_ids is None:
            return frozenset(range(USUAL_SECURITY))
        return frozenset(self._staying(SECURITY, self.security_ids))

    def security(self, short_server_id: int) -> int:
        """Where to write an account's Security instance."""
        if self.security_ids is None:
            return USUAL_SECURITY
        return self._place(SECURITY, self.security_ids, short_server_id)

    def server(self, short_server_id: int) -> int:
        """Where to write an account's Server instance."""
        if self.server_ids is None:
            return USUAL_SERVER
        return self._place(SERVER, self.server_ids, short_server_id)

    def _place(self, parent: Path, known: Mapping[int, int | None], short_server_id: int) -> int:
        """The instance that is this server's already, else the first that is free."""
        staying = self._staying(parent, known)
        own = next((number for number, short_id in staying.items() if short_id == short_server_id), None)
        return first_free(staying.keys()) if own is None else own

    def _staying(self, parent: Path, known: Mapping[int, int | None]) -> dict[int, int | None]:
        """What deleting leaves: LwM2M Core 1.1.1 6.1.7.5 keeps the bootstrap account."""
        return {
            number: short_id
            for number, short_id in known.items()
            if (parent is SECURITY and short_id is None)
            or not any(path.covers(parent.child(number)) for path in self.deleted)
        }


def first_free(taken: AbstractSet[int]) -> int:
    """The lowest number that is not taken."""
    return next(number for number in range(MAX_ID + 1) if number not in taken)


def _instance_of(target: str) -> Path | None:
    parts = target.strip("/").split("/")
    if len(parts) != 2 or not all(p.isascii() and p.isdigit() and len(p) <= 5 for p in parts):
        return None
    ids = tuple(map(int, parts))
    return Path(ids) if max(ids) <= MAX_ID else None


def _short_server_id(link: Link) -> int | None:
    text = link.attributes.get("ssid") or ""
    number = int(text) if text.isascii() and text.isdigit() and len(text) <= 5 else 0
    return number if number in _SHORT_SERVER_IDS else None


def _spelled_out(instances: Instances, listing: _Listing) -> Accounts:
    """The long form's instances, their numbers changed where they must be.

    An account that is not the bootstrap's own never takes the bootstrap's place.
    """
    written: dict[Path, tuple[Record, ...]] = {}
    configured = {path[1] for path, _ in instances.of(SECURITY)}
    taken = set(listing.bootstrap)
    for path, records in instances.of(SECURITY):
        number = path[1]
        if value_of(records, SecurityResource.BOOTSTRAP_SERVER) is True:
            if instances.automatic_ids and len(listing.bootstrap) == 1:
                (number,) = listing.bootstrap
        else:
            if instances.automatic_ids:
                number = listing.security(int(str(value_of(records, SecurityResource.SHORT_SERVER_ID))))
            if number in taken:
                number = first_free(taken | configured | listing.occupied)
        taken.add(number)
        written[SECURITY.child(number)] = _keyed(_moved(records, number))
    for parent in (SERVER, ACCESS_CONTROL):
        written.update(instances.of(parent))
    return {path: tuple(filter(_says_something, records)) for path, records in written.items()}


def _moved(records: tuple[Record, ...], number: int) -> tuple[Record, ...]:
    return tuple(replace(record, path=Path((record.path[0], number, *record.path[2:]))) for record in records)


def _says_something(record: Record) -> bool:
    """Whether a resource is worth a request of its own: empty ones and "no SMS" are as good as none."""
    if record.path[0] != SECURITY[0] or record.path[2] in _CORE[SECURITY[0]]:
        return True
    if record.path[2] == SecurityResource.SMS_MODE:
        return record.value != SmsMode.NO_SEC
    return record.value not in (b"", "")


def _keyed(records: tuple[Record, ...]) -> tuple[Record, ...]:
    """An instance of Security with all its keys, where it needs none empty ones.

    They are mandatory: Leshan's client, for one, answers Bootstrap-Finish with 4.06 without them.
    """
    path = Path(records[0].path[:2])
    missing = _KEYS - {record.path[2] for record in records}
    empty = tuple(Record(path.child(number), b"", DataType.OPAQUE) for number in missing)
    return tuple(sorted((*records, *empty), key=lambda record: record.path))


def _security(path: Path, config: BootstrapConfig, material: Material, uri: str) -> tuple[Record, ...]:
    values: dict[int, tuple[Value, DataType]] = {
        SecurityResource.URI: (config.uri or uri, DataType.STRING),
        SecurityResource.BOOTSTRAP_SERVER: (False, DataType.BOOLEAN),
    }
    match material:
        case PskMaterial(identity, key):
            values[SecurityResource.MODE] = (int(SecurityMode.PSK), DataType.INTEGER)
            values[SecurityResource.IDENTITY] = (identity, DataType.OPAQUE)
            values[SecurityResource.SECRET_KEY] = (key, DataType.OPAQUE)
        case CertificateMaterial(certificate, key, root):
            values[SecurityResource.MODE] = (int(SecurityMode.X509), DataType.INTEGER)
            values[SecurityResource.IDENTITY] = (certificate, DataType.OPAQUE)
            values[SecurityResource.SERVER_PUBLIC_KEY] = (root, DataType.OPAQUE)
            values[SecurityResource.SECRET_KEY] = (key, DataType.OPAQUE)
            values[SecurityResource.CERTIFICATE_USAGE] = (TRUST_ANCHOR, DataType.UNSIGNED)
        case None:
            assert config.security is Security.NONE, "an account without its secret"
            values[SecurityResource.MODE] = (int(SecurityMode.NO_SEC), DataType.INTEGER)
    values[SecurityResource.SHORT_SERVER_ID] = (config.short_server_id, DataType.INTEGER)
    return _keyed(_records(path, values))


def _server(path: Path, config: BootstrapConfig) -> tuple[Record, ...]:
    values: dict[int, tuple[Value, DataType]] = {
        ServerResource.SHORT_SERVER_ID: (config.short_server_id, DataType.INTEGER),
        ServerResource.LIFETIME: (config.lifetime_s, DataType.INTEGER),
        ServerResource.NOTIFICATION_STORING: (True, DataType.BOOLEAN),
        ServerResource.BINDING: (config.binding, DataType.STRING),
    }
    if config.default_pmin_s is not None:
        values[ServerResource.DEFAULT_PMIN] = (config.default_pmin_s, DataType.INTEGER)
    if config.default_pmax_s is not None:
        values[ServerResource.DEFAULT_PMAX] = (config.default_pmax_s, DataType.INTEGER)
    if config.mute_send is not None:
        values[ServerResource.MUTE_SEND] = (config.mute_send, DataType.BOOLEAN)
    return _records(path, values)


def _records(path: Path, values: Mapping[int, tuple[Value, DataType]]) -> tuple[Record, ...]:
    return tuple(Record(path.child(number), *typed) for number, typed in sorted(values.items()))


def _instance_steps(path: Path, records: tuple[Record, ...]) -> Iterator[Step]:
    """One Write of what every client has, or several where that is large; then the rest one by one."""
    core = tuple(record for record in records if record.path[2] in _CORE[path[0]])
    if max(len(codecs.encode(form, core, base=path)) for form in WRITE_FORMATS) <= MAX_INSTANCE_BYTES:
        yield Step(Operation.WRITE, path, core, needed=True)
    else:
        keys = tuple(record for record in core if record.path[2] in _KEYS)
        yield Step(Operation.WRITE, path, tuple(r for r in core if r not in keys), needed=True)
        for record in keys:
            yield Step(Operation.WRITE, record.path, (record,), needed=True, opaque=True)
    rest: dict[Path, tuple[Record, ...]] = {}
    for record in records:
        if record.path[2] not in _CORE[path[0]]:
            rest[record.path.resource] = (*rest.get(record.path.resource, ()), record)
    for resource, several in rest.items():
        yield Step(Operation.WRITE, resource, several)
