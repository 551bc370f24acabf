"""Carries an operation out on a device, now: the request, and what its answer changes in the house.

What the device tells of its presence and of observations goes to the core, its values to the store. Who
asks, when, and how often is for `operations.py` (people) and `onboarding.py` (the box).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from ..db.migrate import StoreError
from ..errors import PeerError, clean
from ..lwm2m.core import Core, LiveObservation, Moment
from ..lwm2m.effects import Source
from ..lwm2m.observation import Observation, ObservationEvent
from ..lwm2m.operations import Kind, Operation
from ..lwm2m.paths import Path
from .intake import Intake
from .ports import Body, DeviceSilent, ObservationShown
from .requests import Answered, DeviceRequests

T = TypeVar("T")
_NOT_FOUND = "4.04"


class Performer:
    """`perform(endpoint, operation)`; raises DeviceSilent, PeerError, UsageError, StoreError."""

    def __init__(
        self, core: Core, intake: Intake, requests: DeviceRequests, clock: Callable[[], Moment]
    ) -> None:
        self._core = core
        self._intake = intake
        self._requests = requests
        self._clock = clock

    async def perform(self, endpoint: str, operation: Operation, source: Source = Source.READ) -> Answered:
        """Ask the device and gather what it answers for the next commit, which is not waited for.

        `source` is what its values are told as: the rest of a notification is one.
        """
        match operation.kind:
            case Kind.OBSERVE | Kind.OBSERVE_COMPOSITE:
                answered = await self._observe(endpoint, operation)
            case Kind.CANCEL:
                answered = await self._cancel(endpoint, operation.paths)
            case Kind.CANCEL_PASSIVE:
                return self._forget(endpoint, operation.paths)
            case _:
                types = self._intake.types_of(endpoint)
                answered = await self._asked(endpoint, self._requests.ask(endpoint, operation, types))
        if answered.records:
            self._intake.keep(
                endpoint, answered.records, source, operation.paths, composite=operation.composite
            )
        return answered

    async def push(self, endpoint: str, path: Path, body: Body, sent: Callable[[int], None]) -> Answered:
        """Write what is too large to hold, in blocks; see `DeviceRequests.push`."""

        def acknowledged(size: int) -> None:
            self._heard(endpoint)
            sent(size)

        return await self._asked(endpoint, self._requests.push(endpoint, path, body, acknowledged))

    async def _observe(self, endpoint: str, operation: Operation) -> Answered:
        types = self._intake.types_of(endpoint)
        token = b""
        registration_id = self._registration_id(endpoint)

        def prepare(observation: Observation) -> asyncio.Future[None]:
            nonlocal token
            token = observation.token
            return self._intake.apply(self._core.observe(observation))

        number: int | None = None
        try:
            answered, number = await self._asked(
                endpoint, self._requests.observe(endpoint, operation, types, prepare)
            )
        finally:
            accepted = number is not None
            self._intake.apply(self._core.observation_answered(token, accepted))
        found = self._core.observed_by(token)
        if found is not None and number is not None:
            found[1].order.accept(number, self._clock().now)
        state = ObservationShown.REFUSED if found is None else ObservationShown.ACTIVE
        self._intake.tell_observation(endpoint, operation.paths, state)
        if answered.success and self._registration_id(endpoint) != registration_id:
            # The Register has ended the observation that the device agreed to.
            raise DeviceSilent(
                "endpoint_moved", f"{clean(endpoint)} registered anew in between", "try again", sent=False
            )
        return answered

    async def _cancel(self, endpoint: str, paths: tuple[Path, ...]) -> Answered:
        """Have the device end an observation; one that it does not have needs no request."""
        live = self._live(endpoint, paths)
        if live is None:
            return Answered()
        types = self._intake.types_of(endpoint)
        observation = live.observation
        answered = await self._asked(endpoint, self._requests.cancel(endpoint, observation, types))
        if answered.success or answered.code == _NOT_FOUND:
            self._intake.apply(self._core.cancel(observation.token, ObservationEvent.CANCELLED))
            self._intake.tell_observation(endpoint, paths, ObservationShown.OFF)
        return answered

    def _forget(self, endpoint: str, paths: tuple[Path, ...]) -> Answered:
        """End an observation on our side alone: the next notification is reset (RFC 7641 3.6)."""
        live = self._live(endpoint, paths)
        if live is not None:
            token = live.observation.token
            self._intake.apply(self._core.cancel(token, ObservationEvent.CANCELLED))
            self._intake.tell_observation(endpoint, paths, ObservationShown.OFF)
        return Answered()

    def _live(self, endpoint: str, paths: tuple[Path, ...]) -> LiveObservation | None:
        device = self._core.device(endpoint)
        return None if device is None else device.observations.get(paths)

    async def _asked(self, endpoint: str, request: Awaitable[T]) -> T:
        """Await a request; what it tells of the device's presence is taken down."""
        asked_at = self._clock().now
        try:
            answered = await request
        except DeviceSilent as silence:
            if silence.sent:
                # What the disk does not take now the intake owes it; the silence is what counts here.
                with suppress(StoreError):
                    self._intake.apply(self._core.unanswered(endpoint, asked_at))
            raise
        except PeerError:
            self._heard(endpoint)
            raise
        self._heard(endpoint)
        return answered

    def _registration_id(self, endpoint: str) -> str:
        device = self._core.device(endpoint)
        return "" if device is None or device.registration is None else device.registration.id

    def _heard(self, endpoint: str) -> None:
        device = self._core.device(endpoint)
        if device is not None:
            self._intake.heard(device, self._clock())
