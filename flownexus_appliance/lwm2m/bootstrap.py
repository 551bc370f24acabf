"""A device's bootstrap: what it asks for, and the requests to it, one answer after the other.

LwM2M Core 1.1.1 6.1 (Bootstrap Interface), Transport 1.1.1 6.4.2 (its CoAP mapping). `BootstrapSession`
says what to ask next and is told what came back; whoever drives it owns the wire, the time and the
secrets, and gives those in by `equip` once the device has told what it has.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from ..errors import PeerError, clean
from . import codecs
from .bootstrap_config import WRITE_FORMATS, BootstrapConfig
from .bootstrap_plan import Material, Operation, Step, opening, plan
from .content_formats import ContentFormat
from .links import Link, parse_links
from .paths import Path
from .requests import read_query
from .values import Record, TypeLookup

PACK_FORMATS: Final = (ContentFormat.SENML_CBOR, ContentFormat.SENML_JSON, ContentFormat.LWM2M_CBOR)
# What a client answers that does not read a format: 4.15 by RFC 7252, and Zephyr's 4.06.
_OTHER_FORMAT: Final = frozenset({"4.15", "4.06"})


class BootstrapState(StrEnum):
    REQUESTED = "requested"
    DISCOVERING = "discovering"
    DELETING = "deleting"
    WRITING = "writing"
    FINISHING = "finishing"
    FINISHED = "finished"
    FAILED = "failed"


class BootstrapEvent(StrEnum):
    DISCOVER = "discover"  # a Bootstrap-Discover or -Read is asked
    DELETE = "delete"
    WRITE = "write"
    FINISH = "finish"
    DONE = "done"  # the device took the Bootstrap-Finish
    FAIL = "fail"


BOOTSTRAP_TRANSITIONS: Final[Mapping[tuple[BootstrapState, BootstrapEvent], BootstrapState]] = {
    (BootstrapState.REQUESTED, BootstrapEvent.DISCOVER): BootstrapState.DISCOVERING,
    (BootstrapState.REQUESTED, BootstrapEvent.DELETE): BootstrapState.DELETING,
    (BootstrapState.REQUESTED, BootstrapEvent.WRITE): BootstrapState.WRITING,
    (BootstrapState.REQUESTED, BootstrapEvent.FINISH): BootstrapState.FINISHING,
    (BootstrapState.REQUESTED, BootstrapEvent.FAIL): BootstrapState.FAILED,
    (BootstrapState.DISCOVERING, BootstrapEvent.DISCOVER): BootstrapState.DISCOVERING,
    (BootstrapState.DISCOVERING, BootstrapEvent.DELETE): BootstrapState.DELETING,
    (BootstrapState.DISCOVERING, BootstrapEvent.WRITE): BootstrapState.WRITING,
    (BootstrapState.DISCOVERING, BootstrapEvent.FINISH): BootstrapState.FINISHING,
    (BootstrapState.DISCOVERING, BootstrapEvent.FAIL): BootstrapState.FAILED,
    (BootstrapState.DELETING, BootstrapEvent.DELETE): BootstrapState.DELETING,
    (BootstrapState.DELETING, BootstrapEvent.WRITE): BootstrapState.WRITING,
    (BootstrapState.DELETING, BootstrapEvent.FINISH): BootstrapState.FINISHING,
    (BootstrapState.DELETING, BootstrapEvent.FAIL): BootstrapState.FAILED,
    (BootstrapState.WRITING, BootstrapEvent.WRITE): BootstrapState.WRITING,
    (BootstrapState.WRITING, BootstrapEvent.FINISH): BootstrapState.FINISHING,
    (BootstrapState.WRITING, BootstrapEvent.FAIL): BootstrapState.FAILED,
    (BootstrapState.FINISHING, BootstrapEvent.DONE): BootstrapState.FINISHED,
    (BootstrapState.FINISHING, BootstrapEvent.FAIL): BootstrapState.FAILED,
}
_EVENTS: Final = {
    Operation.DISCOVER: BootstrapEvent.DISCOVER,
    Operation.READ: BootstrapEvent.DISCOVER,
    Operation.DELETE: BootstrapEvent.DELETE,
    Operation.WRITE: BootstrapEvent.WRITE,
    Operation.FINISH: BootstrapEvent.FINISH,
}


@dataclass(frozen=True, slots=True)
class BootstrapRequest:
    """What a Bootstrap-Request says beside the endpoint's name.

    `preferred` is the Content-Format that the client prefers (`pct`), None where it names none that
    can be written. `discovers`: it speaks LwM2M 1.1 or later, which only such a client shows, by `pct`.
    """

    preferred: int | None = None
    discovers: bool = False


@dataclass(frozen=True, slots=True)
class Ask:
    """What to send next; Bootstrap-Finish has no path of its own (it is a POST to /bs)."""

    operation: Operation
    path: Path
    payload: bytes = field(default=b"", repr=False)
    content_format: int | None = None
    accept: int | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """How a step ended: what was asked, whether the device did it, its code, what it told."""

    operation: Operation
    path: Path
    ok: bool
    code: str
    links: tuple[Link, ...] = ()
    records: tuple[Record, ...] = ()
    message: str = ""


def parse_bootstrap_request(query: Sequence[str]) -> BootstrapRequest:
    """Read the query of /bs or /bspack; what it does not know passes. Raises PeerError("query_invalid")."""
    text = read_query(query).get("pct")
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) <= 5 else None
    return BootstrapRequest(number if number in tuple(WRITE_FORMATS) else None, text is not None)


class BootstrapSession:
    """One device's bootstrap.

    Call `ask`, send it, give the answer to `answered`; again until `ask` returns None. Then either
    `wants_material`, and `equip` goes on, or `state` is FINISHED or FAILED.
    """

    def __init__(self, config: BootstrapConfig, request: BootstrapRequest, types: TypeLookup) -> None:
        self.state = BootstrapState.REQUESTED
        self.reason = ""
        self._config = config
        self._types = types
        self._links: tuple[Link, ...] | None = None
        self._steps = deque(opening(config, request.discovers))
        first = config.content_format or request.preferred
        # The first is the one to write in; the others are what to try when the device does not read it.
        self._formats = deque(sorted(WRITE_FORMATS, key=lambda known: known != first))
        self._untried = len(self._formats) - 1
        self._equipped = False

    @property
    def wants_material(self) -> bool:
        """Whether all was asked that can be asked without knowing what to write."""
        return not self._equipped and not self._steps and self.state is not BootstrapState.FAILED

    def equip(self, material: Material, uri: str) -> None:
        """Give what the device is to get; raises UsageError as `bootstrap_plan.plan`."""
        assert self.wants_material, "equipped too early"
        self._steps.extend(plan(self._config, material, uri, self._types, self._links))
        self._equipped = True

    def ask(self) -> Ask | None:
        """The next request; None where material is wanted, or at the end."""
        if not self._steps or self.state is BootstrapState.FAILED:
            return None
        step = self._steps[0]
        self._enter(_EVENTS[step.operation])
        match step.operation:
            case Operation.DISCOVER:
                return Ask(step.operation, step.path, accept=ContentFormat.LINK)
            case Operation.READ:
                return Ask(step.operation, step.path, accept=self._formats[0])
            case Operation.WRITE:
                form = ContentFormat.OPAQUE if step.opaque else self._formats[0]
                payload = codecs.encode(form, step.records, base=step.path)
                return Ask(step.operation, step.path, payload, form)
            case _:
                return Ask(step.operation, step.path)

    def answered(self, code: str, content_format: int | None = None, payload: bytes = b"") -> Taken | None:
        """The device's answer to `ask`: a CoAP code as "2.04", its format and payload.

        None where the same step is to be asked anew, in another format.
        """
        step = self._steps[0]
        ok = code.startswith("2.")
        if not ok and (code in _OTHER_FORMAT or self._misread(step, code)) and self._try_another_format(step):
            return None
        self._steps.popleft()
        self._untried = len(self._formats) - 1
        taken = Taken(step.operation, step.path, ok, code)
        if ok:
            taken = self._learn(taken, content_format, payload)
        elif step.needed:
            words = clean(payload.decode("utf-8", "replace"))
            self.fail(f"{step.operation.value} {step.path} was answered {code} {words}".rstrip())
        if step.operation is Operation.FINISH and ok:
            self._enter(BootstrapEvent.DONE)
        return taken

    def _misread(self, step: Step, code: str) -> bool:
        """Spec deviation: wakaama reads base64 in SenML JSON by its other alphabet (RFC 8428 6 wants
        base64url), and answers 4.00 to a key with a character that the two do not share."""
        written = step.operation is Operation.WRITE and not step.opaque
        return code == "4.00" and written and self._formats[0] is ContentFormat.SENML_JSON

    def fail(self, reason: str) -> None:
        """It cannot go on; `reason` is for the operator."""
        self.reason = reason
        self._enter(BootstrapEvent.FAIL)

    def _enter(self, event: BootstrapEvent) -> None:
        """By the table: an unlisted pair is a defect of ours and raises KeyError."""
        self.state = BOOTSTRAP_TRANSITIONS[self.state, event]

    def _try_another_format(self, step: Step) -> bool:
        if step.operation not in (Operation.WRITE, Operation.READ):
            return False
        if step.opaque:
            self._steps[0] = replace(step, opaque=False)
            return True
        self._formats.rotate(-1)  # after the last one it stands as it did before
        self._untried -= 1
        return self._untried >= 0

    def _learn(self, taken: Taken, content_format: int | None, payload: bytes) -> Taken:
        """What a Discover or a Read told; what cannot be read of it is as if it had not been told."""
        try:
            if taken.operation is Operation.DISCOVER:
                self._links = parse_links(payload)
                return replace(taken, links=self._links)
            if taken.operation is Operation.READ and content_format is not None:
                records = codecs.decode(content_format, payload, base=taken.path, types=self._types, now_ms=0)
                return replace(taken, records=records)
        except PeerError as error:
            return replace(taken, ok=False, message=error.message)
        return taken
