"""Operations on a device: what can be asked of it, on which paths, and what becomes of the asking.

LwM2M Core 1.1.1 sections 6.3 (Device Management) and 6.4 (Information Reporting). Pure: how an
operation becomes a request is in `fleet/requests.py`, its life in `fleet/operations.py`.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import UsageError, clean
from .attributes import Attributes, check_attributes
from .model import ResourceDefinition
from .paths import Path
from .registration import RegisteredObject
from .values import DataType, Record


class Kind(StrEnum):
    """The operations, as the API names them."""

    READ = "read"
    WRITE = "write"  # Replace
    WRITE_PARTIAL = "write_partial"  # Partial Update
    WRITE_ATTRIBUTES = "write_attributes"
    DISCOVER = "discover"
    EXECUTE = "execute"
    CREATE = "create"
    DELETE = "delete"
    READ_COMPOSITE = "read_composite"
    WRITE_COMPOSITE = "write_composite"
    OBSERVE = "observe"
    OBSERVE_COMPOSITE = "observe_composite"
    CANCEL = "cancel"  # Cancel Observation, told to the device (Observe = 1)
    CANCEL_PASSIVE = "cancel_passive"  # nothing is sent: the next notification is reset


class Status(StrEnum):
    """Where an operation stands; the names are those of the database."""

    QUEUED = "QUEUED"
    SENDING = "SENDING"
    CONFIRMED = "CONFIRMED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"


class Step(StrEnum):
    """What can happen to an operation."""

    SEND = "send"  # the device listens, and it is this one's turn
    ACCEPT = "accept"  # the device did it
    REFUSE = "refuse"  # the device said no, or nobody knows whether it did it
    POSTPONE = "postpone"  # no answer yet: the next wake-up is another try
    EXPIRE = "expire"  # its deadline has passed
    CANCEL = "cancel"  # whoever asked no longer wants it


TRANSITIONS: Final[Mapping[tuple[Status, Step], Status]] = {
    (Status.QUEUED, Step.SEND): Status.SENDING,
    (Status.QUEUED, Step.REFUSE): Status.FAILED,
    (Status.QUEUED, Step.EXPIRE): Status.EXPIRED,
    (Status.QUEUED, Step.CANCEL): Status.CANCELLED,
    (Status.SENDING, Step.ACCEPT): Status.CONFIRMED,
    (Status.SENDING, Step.REFUSE): Status.FAILED,
    (Status.SENDING, Step.POSTPONE): Status.QUEUED,
    (Status.SENDING, Step.EXPIRE): Status.EXPIRED,
    (Status.SENDING, Step.CANCEL): Status.CANCELLED,
}
UNFINISHED: Final = frozenset({Status.QUEUED, Status.SENDING})
MAX_ATTEMPTS: Final = 3
# What must not happen twice because an answer was lost: Zephyr knows no duplicate from a new request.
AT_MOST_ONCE: Final = frozenset({Kind.EXECUTE, Kind.CREATE})

COMPOSITES: Final = frozenset({Kind.READ_COMPOSITE, Kind.WRITE_COMPOSITE, Kind.OBSERVE_COMPOSITE})
CANCELS: Final = frozenset({Kind.CANCEL, Kind.CANCEL_PASSIVE})
WRITES: Final = frozenset({Kind.WRITE, Kind.WRITE_PARTIAL, Kind.WRITE_COMPOSITE, Kind.CREATE})
_WITHOUT_FORMAT: Final = CANCELS | {
    Kind.WRITE_ATTRIBUTES,
    Kind.DISCOVER,
    Kind.EXECUTE,
    Kind.DELETE,
}
MAX_PATHS: Final = 64
MAX_ARGUMENTS: Final = 1024
# LwM2M Core 1.1.1 6.3.5: a digit, or a digit with a text between single quotes.
_ARGUMENT: Final = r"[0-9](='[^'\x00-\x1f\ud800-\udfff]*')?"  # half a character is none
_ARGUMENTS: Final = re.compile(rf"{_ARGUMENT}(,{_ARGUMENT})*")

# How many numbers a path has that an operation makes sense on (LwM2M Core 1.1.1 6.3, 6.4). An Execute of an
# instance would be a Write, one of an object a Create: CoAP tells them apart by the path alone.
_DEPTHS: Final[Mapping[Kind, tuple[int, ...]]] = {
    Kind.READ: (1, 2, 3, 4),
    Kind.WRITE: (2, 3, 4),
    Kind.WRITE_PARTIAL: (2,),
    Kind.WRITE_ATTRIBUTES: (1, 2, 3, 4),
    Kind.DISCOVER: (1, 2, 3),
    Kind.EXECUTE: (3,),
    Kind.CREATE: (1, 2),
    Kind.DELETE: (2, 4),
    Kind.READ_COMPOSITE: (0, 1, 2, 3, 4),
    Kind.WRITE_COMPOSITE: (3, 4),
    Kind.OBSERVE: (1, 2, 3, 4),
    Kind.OBSERVE_COMPOSITE: (0, 1, 2, 3, 4),
    Kind.CANCEL: (0, 1, 2, 3, 4),
    Kind.CANCEL_PASSIVE: (0, 1, 2, 3, 4),
}
_LEVELS: Final = ("the root", "an object", "an instance", "a resource", "a resource instance")


@dataclass(frozen=True, slots=True)
class Operation:
    """What is asked of a device.

    `paths` is the one target, or the several of a composite operation and of the observation that is
    cancelled. `records` are what a write or a Create brings; of a Create whose path is an object alone the
    device chooses the instance, and the records stand in instance 0. `arguments` are an Execute's as the
    device gets them. `content_format` None: the best that the device is known to speak.
    """

    kind: Kind
    paths: tuple[Path, ...]
    records: tuple[Record, ...] = ()
    arguments: str = ""
    attributes: Attributes = ()
    content_format: int | None = None

    @property
    def path(self) -> Path:
        """The target; of a composite operation the first."""
        return self.paths[0]

    @property
    def composite(self) -> bool:
        return self.kind in COMPOSITES


def kind_of(name: str) -> Kind:
    """The operation of a name; raises UsageError("operation_unknown")."""
    try:
        return Kind(name)
    except ValueError:
        raise UsageError(
            "operation_unknown", f"no operation {clean(name)!r}", f"use one of {', '.join(Kind)}"
        ) from None


def check(operation: Operation) -> None:
    """Whether an operation makes sense, whatever the device.

    Raises UsageError: `path_invalid`, `paths_invalid`, `value_missing`, `value_unexpected`,
    `format_unexpected`, `arguments_invalid`, `attributes_invalid`.
    """
    _check_paths(operation)
    _check_records(operation)
    if operation.content_format is not None and operation.kind in _WITHOUT_FORMAT:
        raise UsageError(
            "format_unexpected", f"{operation.kind} has no choice of format", "leave the format out"
        )
    if operation.arguments and operation.kind is not Kind.EXECUTE:
        raise UsageError(
            "arguments_invalid", f"{operation.kind} takes no arguments", "arguments are for an execute"
        )
    _check_arguments(operation.arguments)
    if operation.kind is Kind.WRITE_ATTRIBUTES:
        check_attributes(operation.attributes, operation.path)
    elif operation.attributes:
        raise UsageError(
            "attributes_invalid",
            f"{operation.kind} takes no attributes",
            "attributes are for write_attributes",
        )


def check_model(
    operation: Operation,
    objects: Mapping[int, RegisteredObject] | None,
    defined: Callable[[Path], ResourceDefinition | None],
    known: Callable[[int], bool],
) -> None:
    """Whether the device, and the models of its objects, have what is asked for.

    `objects` are those the device has registered, None where it is not registered now. `defined` is the
    definition of the resource at a path and `known` whether there is a model of an object at all.
    Raises UsageError: `object_unknown`, `instance_unknown`, `resource_undefined`, `not_readable`,
    `not_writable`, `not_executable`, `not_multiple`.
    """
    for path in [*operation.paths, *(record.path for record in operation.records)]:
        if operation.kind not in CANCELS and path:
            _check_registered(operation.kind, path, objects)
    if operation.kind in WRITES:
        for record in operation.records:
            _check_resource(operation.kind, record.path, defined, known)
    else:
        for path in operation.paths:
            if len(path) >= 3 and operation.kind not in CANCELS:
                _check_resource(operation.kind, path, defined, known)


def _check_arguments(arguments: str) -> None:
    if len(arguments) > MAX_ARGUMENTS or (arguments and not _ARGUMENTS.fullmatch(arguments)):
        raise UsageError(
            "arguments_invalid",
            f"not the arguments of an execute: {clean(arguments, 40)}",
            f"write digits, each with a text if need be: 0='/33629/1',2 (at most {MAX_ARGUMENTS} characters)",
        )


def _check_paths(operation: Operation) -> None:
    kind, paths = operation.kind, operation.paths
    several = operation.composite or kind in CANCELS
    if not paths or len(paths) > (MAX_PATHS if several else 1):
        raise UsageError(
            "paths_invalid",
            f"{len(paths)} paths for {kind}",
            f"give 1 to {MAX_PATHS}" if several else "give one path",
        )
    depths = _DEPTHS[kind]
    for path in paths:
        if len(path) not in depths:
            fit = " or ".join(_LEVELS[depth] for depth in depths)
            raise UsageError(
                "path_invalid",
                f"{path} is {_LEVELS[len(path)]}, which {kind} does not work on",
                f"name {fit}, such as {Path((3, 0, 1, 0)[: depths[0]])}",
            )
    if operation.composite:
        for place, path in enumerate(paths):
            if any(other.covers(path) for at, other in enumerate(paths) if at != place):
                raise UsageError(
                    "paths_invalid", f"{path} is asked for twice", "leave out paths that others cover"
                )


def _check_records(operation: Operation) -> None:
    kind = operation.kind
    if kind not in WRITES:
        if operation.records:
            raise UsageError("value_unexpected", f"{kind} takes no value", "values are for writes and create")
        return
    # An instance may be made empty, or of what is all optional; a partial update of nothing is none.
    if not operation.records and kind is not Kind.CREATE:
        raise UsageError("value_missing", f"{kind} without a value", "give a value for the path")
    for record in operation.records:
        if len(record.path) < 3:
            raise UsageError(
                "path_invalid", f"{record.path} holds no value", "name a resource, such as /3/0/15"
            )
        if not any(path.covers(record.path) for path in operation.paths):
            raise UsageError(
                "path_invalid",
                f"{record.path} is not below {operation.path}",
                "values belong to what is written",
            )


def _check_registered(kind: Kind, path: Path, objects: Mapping[int, RegisteredObject] | None) -> None:
    if objects is None:
        return
    found = objects.get(path[0])
    if found is None:
        raise UsageError(
            "object_unknown",
            f"the device has no object {path[0]}",
            f"it has registered {_listed(sorted(objects))}",
        )
    # A client may list an object without its instances: then only the device knows.
    named = len(path) > 1 and kind is not Kind.CREATE and found.instances
    if named and path[1] not in found.instances:
        raise UsageError(
            "instance_unknown",
            f"the device has no instance {path[1]} of object {path[0]}",
            f"it has {_listed(found.instances)}",
        )


_NEEDED: Final[Mapping[Kind, tuple[str, str]]] = {
    Kind.READ: ("R", "readable"),
    Kind.READ_COMPOSITE: ("R", "readable"),
    Kind.OBSERVE: ("R", "readable"),
    Kind.OBSERVE_COMPOSITE: ("R", "readable"),
    Kind.WRITE: ("W", "writable"),
    Kind.WRITE_PARTIAL: ("W", "writable"),
    Kind.WRITE_COMPOSITE: ("W", "writable"),
    Kind.EXECUTE: ("E", "executable"),
}


def _check_resource(
    kind: Kind,
    path: Path,
    defined: Callable[[Path], ResourceDefinition | None],
    known: Callable[[int], bool],
) -> None:
    definition = defined(path)
    if definition is None:
        if known(path[0]):
            raise UsageError(
                "resource_undefined",
                f"the model of object {path[0]} has no resource {path[2]}",
                "check the number, or upload a model that has it",
            )
        return
    if len(path) == 4 and not definition.multiple:
        raise UsageError(
            "not_multiple",
            f"{definition.name} at {path.resource} has a single value",
            f"name the resource: {path.resource}",
        )
    needed, word = _NEEDED.get(kind, ("", ""))
    if needed and needed not in definition.operations:
        raise UsageError(
            f"not_{word}",
            f"{definition.name} at {path.resource} is not {word}",
            _allowed(definition),
        )


def _allowed(definition: ResourceDefinition) -> str:
    words = {"R": "read", "W": "written", "E": "executed"}
    can = [word for letter, word in words.items() if letter in definition.operations]
    return f"by its model it can be {' and '.join(can)}" if can else "by its model servers cannot use it"


def _listed(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:20]))
    return f"{shown} and {len(numbers) - 20} more" if len(numbers) > 20 else shown or "none"


def natural_plain_type(value: object) -> DataType:
    """The data type that a JSON value is written as where no model knows the resource."""
    if isinstance(value, bool):
        return DataType.BOOLEAN
    if isinstance(value, int):
        return DataType.INTEGER
    return DataType.FLOAT if isinstance(value, float) else DataType.STRING
