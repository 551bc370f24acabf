"""Operations as JSON: what a request asks for, typed by the models, and how an operation stands.

Shared by the API and the pages. LwM2M Core 1.1.1 sections 6.3 and 6.4; whether an operation makes sense is
decided in `lwm2m/operations.py`, when it is asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from time import monotonic as now_s
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, UnsetType

from ..db.operations import Attempt, EndpointOperation
from ..errors import UsageError, clean
from ..lwm2m.attributes import Attributes
from ..lwm2m.content_formats import ContentFormat
from ..lwm2m.operations import MAX_ARGUMENTS, Kind, Operation, kind_of, natural_plain_type
from ..lwm2m.paths import MAX_LENGTH, Path
from ..lwm2m.plain import PlainValue, from_plain, to_plain
from ..lwm2m.values import DataType, Record
from .ports import PARTS, Parts

# Far above what one message to a device holds, far below what would keep others waiting here.
MAX_VALUES: Final = 512
MAX_DEADLINE_S: Final = 366 * 24 * 3600
# How long a client that waits may be gone before anybody looks.
LOOK_S: Final = 1.0
FORMATS: Final[Mapping[str, ContentFormat]] = {
    "senml_cbor": ContentFormat.SENML_CBOR,
    "senml_json": ContentFormat.SENML_JSON,
    "tlv": ContentFormat.TLV,
    "json": ContentFormat.JSON,
    "text": ContentFormat.TEXT,
    "opaque": ContentFormat.OPAQUE,
    "cbor": ContentFormat.CBOR,
    "lwm2m_cbor": ContentFormat.LWM2M_CBOR,
}
DATA_TYPES: Final = tuple(one.value for one in DataType if one is not DataType.NONE)


def _words(*known: str) -> msgspec.Meta:
    """Words that the description lists and the code below checks, with an error of its own."""
    return msgspec.Meta(max_length=32, extra_json_schema={"enum": list(known)})


PathText = Annotated[str, msgspec.Meta(max_length=MAX_LENGTH)]
# Attributes by name; null unsets one.
AttributeTexts = dict[str, str | int | float | None]
DeadlineS = Annotated[float, msgspec.Meta(gt=0, le=MAX_DEADLINE_S)]


class OperationRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An operation that is asked for.

    `path`, or `paths` of a composite operation and of the cancelling of one. `value` is that of a resource:
    as JSON has it, or an object of values by number for the instances of a multiple resource. `values` are
    those of an instance, by path or by number below `path`. `data_type` is for resources that no model
    knows, `arguments` for an execute (0='x',1), `attributes` for write_attributes. Without `format` it is
    the best one that the device speaks. An operation that has not been done after `deadline_s` seconds
    expires.
    """

    operation: Annotated[str, _words(*Kind)]
    path: PathText | None = None
    paths: list[PathText] | None = None
    value: Any | UnsetType = UNSET
    values: dict[PathText, Any] | None = None
    data_type: Annotated[str, _words(*DATA_TYPES)] | None = None
    arguments: Annotated[str, msgspec.Meta(max_length=MAX_ARGUMENTS)] | None = None
    attributes: AttributeTexts | None = None
    format: Annotated[str, _words(*FORMATS)] | None = None
    deadline_s: DeadlineS | None = None


@dataclass(frozen=True, slots=True)
class WantedValue:
    """A value that a write or a create brings to the device."""

    path: str
    value: PlainValue
    data_type: str


@dataclass(frozen=True, slots=True)
class OperationValue:
    """A value that the device answered. `time_ms` is its own timestamp, null when it sent none."""

    path: str
    value: PlainValue
    data_type: str
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class OperationLink:
    """A link that Discover found: attributes as the device wrote them, null for a bare name."""

    path: str
    attributes: dict[str, str | None]


@dataclass(frozen=True, slots=True)
class OperationState:
    """An operation as it stands; times in ms since 1970 UTC.

    `status` is QUEUED, SENDING, CONFIRMED, FAILED, EXPIRED or CANCELLED: a device that refuses is an
    answer, not an error of this API. `code` is the CoAP code as in 2.05, "" without a usable answer;
    `message` what the device said of an error, or the box where there was no answer. `cut`: the values were
    too many to be kept. `retry_of` is the operation that this one repeats.
    """

    id: int
    endpoint: str
    operation: str
    paths: list[str]
    wanted: list[WantedValue]
    arguments: str
    attributes: dict[str, str | None]
    status: str
    attempts: int
    asked_by: str
    retry_of: int | None
    created_ms: int
    changed_ms: int
    deadline_ms: int | None
    code: str
    message: str
    hint: str
    values: list[OperationValue]
    links: list[OperationLink]
    location: str
    cut: bool


@dataclass(frozen=True, slots=True)
class AttemptState:
    """One sending. `ended_ms` is null while it is under way, and where the box went down meanwhile."""

    number: int
    started_ms: int
    ended_ms: int | None
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class OperationDetail(OperationState):
    """An operation with every time that it was sent."""

    attempts_made: list[AttemptState]


def state_of(kept: EndpointOperation) -> OperationState:
    """How an operation stands, as JSON tells it."""
    return OperationState(**_state(kept))


def detail_of(kept: EndpointOperation, attempts: Sequence[Attempt]) -> OperationDetail:
    """The same with its attempts."""
    made = [
        AttemptState(one.number, one.started_ms, one.ended_ms or None, one.code, one.message)
        for one in attempts
    ]
    return OperationDetail(**_state(kept), attempts_made=made)


async def wait_until_done(request: web.Request, kept: EndpointOperation, wait_s: float) -> EndpointOperation:
    """The operation when it is done, or as it stands after `wait_s` seconds or when the box stops.

    Raises ConnectionResetError soon after the client has gone away: the operation goes on without it.
    """
    parts = request.app[PARTS]
    end_s = now_s() + wait_s
    while not kept.done and not parts.hub.closing and (left_s := end_s - now_s()) > 0:
        if request.transport is None or request.transport.is_closing():
            raise ConnectionResetError("who waits for the operation is gone")
        try:
            kept = await parts.operations.finished(kept.id, min(left_s, LOOK_S))
        except UsageError as error:
            # It was done before anybody asked: then the file knows how it ended.
            found = await parts.reader.operation(kept.id) if error.code == "operation_missing" else None
            if found is None:
                raise
            return found
    return kept


def operation_from(parts: Parts, endpoint: str, request: OperationRequest) -> Operation:
    """The operation that a request means, its values typed by what the device has registered.

    Raises UsageError: operation_unknown, path_invalid, paths_invalid, value_invalid, value_unexpected,
    body_invalid. What makes sense beyond that is for `Operations.ask`.
    """
    kind = kind_of(request.operation)
    paths = paths_from(request.path, request.paths)
    given = _given(kind, paths, request)
    records = tuple(_records(parts, endpoint, given, _data_type(request.data_type)))
    if kind is Kind.WRITE_COMPOSITE and given:
        paths = tuple(given)  # the resources that it writes are its targets, however they were named
    if not paths:
        raise UsageError("paths_invalid", "no path is named", 'give "path", or "paths" for several')
    return Operation(
        kind=kind,
        paths=paths,
        records=records,
        arguments=request.arguments or "",
        attributes=attributes_from(request.attributes or {}),
        content_format=_content_format(request.format),
    )


def paths_from(path: str | None, paths: list[str] | None) -> tuple[Path, ...]:
    """`path` or `paths`; empty where neither is given. Raises UsageError: path_invalid, paths_invalid."""
    if path is not None and paths is not None:
        raise UsageError("paths_invalid", "both path and paths are given", "give one of them")
    texts = [path] if path is not None else paths or []
    return tuple(Path.parse(text, UsageError) for text in texts)


def attributes_from(texts: AttributeTexts) -> Attributes:
    """Attributes as the device gets them: numbers without exponent, None to unset."""
    return tuple((name, _attribute(value)) for name, value in texts.items())


def deadline_ms(parts: Parts, deadline_s: float | None) -> int:
    """When an operation that is asked for now expires, 0 for never."""
    return 0 if deadline_s is None else parts.now_ms() + max(1, round(deadline_s * 1000))


def _state(kept: EndpointOperation) -> dict[str, Any]:
    wanted, outcome = kept.operation, kept.outcome
    return {
        "id": kept.id,
        "endpoint": kept.endpoint,
        "operation": wanted.kind.value,
        "paths": [str(path) for path in wanted.paths],
        "wanted": [WantedValue(str(r.path), to_plain(r.value), r.data_type.value) for r in wanted.records],
        "arguments": wanted.arguments,
        "attributes": dict(wanted.attributes),
        "status": kept.status.value,
        "attempts": kept.attempts,
        "asked_by": kept.asked_by,
        "retry_of": kept.retry_of or None,
        "created_ms": kept.created_ms,
        "changed_ms": kept.changed_ms,
        "deadline_ms": kept.deadline_ms or None,
        "code": outcome.code,
        "message": outcome.message,
        "hint": outcome.hint,
        "values": [
            OperationValue(str(r.path), to_plain(r.value), r.data_type.value, r.time_ms)
            for r in outcome.records
        ],
        "links": [OperationLink(link.target, dict(link.attributes)) for link in outcome.links],
        "location": outcome.location,
        "cut": outcome.cut,
    }


def _given(kind: Kind, paths: tuple[Path, ...], request: OperationRequest) -> dict[Path, object]:
    """The values that a request brings, by path."""
    if request.values is None:
        if request.value is UNSET:
            return {}
        if not paths or len(paths) > 1:
            raise UsageError("value_unexpected", "a value for no single path", 'give "values" by path')
        if len(paths[0]) < 3:
            raise UsageError(
                "value_unexpected",
                f"{paths[0]} holds no single value",
                'give "values" by number, such as {"14": "+01", "15": "Europe/Berlin"}',
            )
        return {paths[0]: request.value}
    if request.value is not UNSET:
        raise UsageError("value_unexpected", "both value and values are given", "give one of them")
    _check_count(len(request.values))
    return _placed(kind, paths, request.values)


def _placed(kind: Kind, paths: tuple[Path, ...], values: Mapping[str, object]) -> dict[Path, object]:
    """Values by their full paths. Of a Create whose instance the device chooses they stand in instance 0."""
    chosen = not (kind is Kind.CREATE and paths and len(paths[0]) == 1)
    base = (paths[0] if chosen else paths[0].child(0)) if paths else None
    found: dict[Path, object] = {}
    for text, value in values.items():
        if not text.startswith("/") and (base is None or len(paths) > 1):
            raise UsageError(
                "path_invalid", f"{clean(text)} is below no single path", "write the whole path: /3/0/14"
            )
        path = Path.parse(text if text.startswith("/") else f"{base}/{text}", UsageError)
        if not chosen and len(path) > 1 and path[1] != 0:
            raise UsageError(
                "path_invalid",
                f"{path} names an instance, which the device is to choose",
                f"name it in the path of the operation: {Path(path[:2])}",
            )
        if path in found:
            raise _twice(path)
        found[path] = value
    return found


def _records(
    parts: Parts, endpoint: str, given: Mapping[Path, object], data_type: DataType | None
) -> Iterator[Record]:
    """Values typed: by the model, else as the request says, else by what JSON has."""
    seen: set[Path] = set()
    for path, plain in _instances(given):
        if path in seen:
            raise _twice(path)
        seen.add(path)
        _check_count(len(seen))
        wanted = parts.fleet.type_of(endpoint, path) if len(path) >= 3 else None
        wanted = wanted or data_type or natural_plain_type(plain)
        try:
            value = from_plain(plain, wanted)
        except UsageError as error:
            raise UsageError(error.code, f"{path}: {error.message}", error.hint) from None
        yield Record(path, value, wanted)


def _instances(given: Mapping[Path, object]) -> Iterator[tuple[Path, object]]:
    """An object of values by number stands for the instances of a multiple resource."""
    for path, plain in given.items():
        if isinstance(plain, dict) and len(path) == 3:
            for number, value in plain.items():
                yield Path.parse(f"{path}/{number}", UsageError), value
        else:
            yield path, plain


def _data_type(name: str | None) -> DataType | None:
    if name is None:
        return None
    if name not in DATA_TYPES:
        raise UsageError(
            "body_invalid", f"no data type {clean(name)!r}", f"give one of {', '.join(DATA_TYPES)}"
        )
    return DataType(name)


def _content_format(name: str | None) -> int | None:
    if name is None:
        return None
    if name not in FORMATS:
        raise UsageError("body_invalid", f"no format {clean(name)!r}", f"give one of {', '.join(FORMATS)}")
    return int(FORMATS[name])


def _attribute(value: str | int | float | None) -> str | None:
    if isinstance(value, float):
        # 1e-05 is no number of RFC 6690's attributes.
        return str(int(value)) if value.is_integer() else f"{Decimal(repr(value)):f}"
    return None if value is None else str(value)


def _check_count(count: int) -> None:
    if count > MAX_VALUES:
        raise UsageError(
            "value_invalid", f"more than {MAX_VALUES} values at once", "write them in several operations"
        )


def _twice(path: Path) -> UsageError:
    return UsageError("value_invalid", f"{path} has two values", "give each path once")
