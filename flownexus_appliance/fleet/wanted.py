"""What each device is wanted to report, and with which attributes: kept, and begun anew when it registers.

A Register resets a client's observations and attributes (LwM2M Core 1.1.1 6.2.1, 5.1.2). The watch list is
the same for all devices; what people asked for by an Observe or a Write-Attributes that the device
confirmed is kept here, and so is what they ended although the watch list names it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ..db.operations import EndpointOperation, WantedAttributes, WantedObservation
from ..db.store import Store
from ..lwm2m.attributes import merge_attributes
from ..lwm2m.operations import Kind, Operation
from ..lwm2m.paths import Path

Paths = tuple[Path, ...]
_NOTHING: Final[Mapping[Path, Mapping[str, str]]] = {}


@dataclass(slots=True)
class _Wishes:
    """Of one device."""

    observations: dict[Paths, WantedObservation] = field(default_factory=dict)
    attributes: dict[Path, Mapping[str, str]] = field(default_factory=dict)


class Wanted:
    """The wishes of all devices.

    `watched` says what the watch list finds on a device as it is registered, `listed` whether the list names
    a path at all.
    """

    def __init__(
        self, store: Store, watched: Callable[[str], Sequence[Path]], listed: Callable[[Path], bool]
    ) -> None:
        self._store = store
        self._watched = watched
        self._listed = listed
        self._wishes: dict[str, _Wishes] = {}

    def start(
        self, observations: Iterable[WantedObservation], attributes: Iterable[WantedAttributes]
    ) -> None:
        """Take up what an earlier run kept."""
        for wanted in observations:
            self._of(wanted.endpoint).observations[wanted.paths] = wanted
        for one in attributes:
            self._of(one.endpoint).attributes[one.path] = one.attributes

    def observations(self, endpoint: str) -> tuple[WantedObservation, ...]:
        """What people said, also that they do not want it."""
        wishes = self._wishes.get(endpoint)
        return () if wishes is None else tuple(wishes.observations.values())

    def attributes(self, endpoint: str) -> Mapping[Path, Mapping[str, str]]:
        """What is set on a device, by path."""
        wishes = self._wishes.get(endpoint)
        return _NOTHING if wishes is None else wishes.attributes

    def operations(self, endpoint: str) -> list[Operation]:
        """What to ask of a device that has registered: attributes first, then observations, each once."""
        asked = [
            Operation(Kind.WRITE_ATTRIBUTES, (path,), attributes=tuple(attributes.items()))
            for path, attributes in sorted(self.attributes(endpoint).items())
        ]
        said = self.observations(endpoint)
        named = {one.paths for one in said}
        asked += [
            Operation(Kind.OBSERVE, (path,)) for path in self._watched(endpoint) if (path,) not in named
        ]
        for one in said:
            if one.wanted:
                kind = Kind.OBSERVE_COMPOSITE if one.composite else Kind.OBSERVE
                asked.append(Operation(kind, one.paths, content_format=one.content_format))
        return asked

    def confirmed(self, done: EndpointOperation) -> None:
        """A device has done what somebody asked for: gather for the next commit what is to last.

        Raises StoreError, and nothing is changed then.
        """
        operation, endpoint = done.operation, done.endpoint
        match operation.kind:
            case Kind.OBSERVE | Kind.OBSERVE_COMPOSITE:
                self._put(done, wanted=True)
            case Kind.CANCEL | Kind.CANCEL_PASSIVE:
                if len(operation.paths) == 1 and self._listed(operation.path):
                    self._put(done, wanted=False)
                else:
                    self._store.remove_wanted_observation(endpoint, operation.paths)
                    self._of(endpoint).observations.pop(operation.paths, None)
            case Kind.WRITE_ATTRIBUTES:
                before = self._of(endpoint).attributes.get(operation.path, {})
                merged = merge_attributes(before, operation.attributes)
                self._store.put_wanted_attributes(WantedAttributes(endpoint, operation.path, merged))
                self._of(endpoint).attributes.pop(operation.path, None)
                if merged:
                    self._of(endpoint).attributes[operation.path] = merged
        wishes = self._wishes.get(endpoint)
        if wishes is not None and not wishes.observations and not wishes.attributes:
            del self._wishes[endpoint]

    def _put(self, done: EndpointOperation, *, wanted: bool) -> None:
        operation = done.operation
        one = WantedObservation(
            endpoint=done.endpoint,
            paths=operation.paths,
            composite=operation.composite,
            content_format=operation.content_format,
            wanted=wanted,
            asked_by=done.asked_by,
            since_ms=done.changed_ms,
        )
        self._store.put_wanted_observation(one)
        self._of(done.endpoint).observations[operation.paths] = one

    def _of(self, endpoint: str) -> _Wishes:
        return self._wishes.setdefault(endpoint, _Wishes())
