"""How the firmware of simulated devices fares: what they can fetch, and what becomes of an update.

LwM2M Core 1.1.1 appendix E.6 (Firmware Update, object 5); 33629 is the Advanced Firmware Update of nRF
Connect SDK and Anjay.
"""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from ..errors import UsageError, clean
from ..lwm2m.firmware import FIRMWARE_UPDATE, OBJECTS, DeliveryMethod, Protocol, UpdateResult

VERSION: Final = "1.0.0"
MAX_VERSION: Final = 64
MAX_PACKAGE: Final = 64 << 20
PULLS: Final[Mapping[str, Protocol]] = {
    "coap": Protocol.COAP,
    "coaps": Protocol.COAPS,
    "http": Protocol.HTTP,
    "https": Protocol.HTTPS,
}


class Outcome(StrEnum):
    """What becomes of the updates of a device. `result-N`: it ends with that Update Result."""

    SUCCESS = "success"
    NO_STORAGE = "result-2"  # at the first byte
    NO_MEMORY = "result-3"  # in the middle of the download
    CONNECTION_LOST = "result-4"  # in the middle of the download
    INTEGRITY_FAILED = "result-5"  # at the end of it
    UNSUPPORTED_PACKAGE = "result-6"  # at the end of it
    INVALID_URI = "result-7"  # when the Package URI is written; a push goes well
    UPDATE_FAILED = "result-8"  # when it is installed
    UNSUPPORTED_PROTOCOL = "result-9"  # when the Package URI is written; a push goes well
    FLAKY = "flaky"  # result 4 in the middle of the first download; the others go well
    STALL = "stall"  # the first download stops in the middle without a word
    DEFERRED = "deferred"  # result 11, and it installs it later by itself
    SLOW = "slow"  # the installation takes ten times as long
    REVERT = "revert"  # it comes back with the version it had
    UNCONFIRMED = "unconfirmed"  # it comes back with the new version and the result of a revert
    GONE = "gone"  # it never comes back


# The Update Result that each outcome leads to, where one belongs to it alone.
RESULTS: Final[Mapping[Outcome, UpdateResult]] = {
    Outcome.NO_STORAGE: UpdateResult.NO_STORAGE,
    Outcome.NO_MEMORY: UpdateResult.NO_MEMORY,
    Outcome.CONNECTION_LOST: UpdateResult.CONNECTION_LOST,
    Outcome.FLAKY: UpdateResult.CONNECTION_LOST,
    Outcome.INTEGRITY_FAILED: UpdateResult.INTEGRITY_FAILED,
    Outcome.UNSUPPORTED_PACKAGE: UpdateResult.UNSUPPORTED_PACKAGE,
    Outcome.INVALID_URI: UpdateResult.INVALID_URI,
    Outcome.UPDATE_FAILED: UpdateResult.UPDATE_FAILED,
    Outcome.UNSUPPORTED_PROTOCOL: UpdateResult.UNSUPPORTED_PROTOCOL,
}
# What a device that was not told of an update says of the last one: nothing, or that it failed.
REVERT_RESULTS: Final = frozenset({UpdateResult.INITIAL, UpdateResult.UPDATE_FAILED})


def succeed(index: int) -> Outcome:
    """All goes well with every device."""
    return Outcome.SUCCESS


@dataclass(frozen=True, slots=True)
class FirmwareOptions:
    """The firmware of a fleet's devices; durations are seconds, sizes bytes.

    `outcome` tells by the index of a device, from 0, what becomes of its updates; of a mapping those that are
    not in it go well. `objects` are those of {5, 33629} that the devices have. `pull` None: coap for devices
    that speak plain CoAP, coaps for the others.

    Pulls: `block_size` is asked for, with the first GET if `early_block2`, as Zephyr does (else that one has
    no Block2 option); to write one into its flash a device takes `block_s`. `first_credential`: after a
    bootstrap packages are fetched by the credential of the Bootstrap-Server, as Zephyr does. HTTPS servers
    are verified by the certificates in the file `https_ca`, "": not at all; of all devices `https_threads`
    fetch at a time, a broken connection is taken up again `https_tries` times, `https_wait_s` apart.

    Pushes: blocks of more than `push_block_size` are answered 4.13 with the size, nothing for `push_idle_s`
    ends with result 4. A package of more than `max_size` is result 2.

    An installation takes `update_s`, the start after it `boot_s`; it is from a `new_port` as with Anjay. A
    deferred one begins `defer_s` after it was asked for. `keeps_package`: one that failed leaves state 2, as
    the figure in E.6 has it, instead of 0, as Zephyr has it. `persistent`: state and result outlive a reboot,
    as with nRF Connect SDK.
    """

    version: str = VERSION
    outcome: Callable[[int], Outcome] | Mapping[int, Outcome] = succeed
    objects: tuple[int, ...] = (FIRMWARE_UPDATE,)
    method: DeliveryMethod = DeliveryMethod.BOTH
    pull: tuple[Protocol, ...] | None = None
    block_size: int = 512
    early_block2: bool = True
    block_s: float = 0.0
    first_credential: bool = False
    https_ca: str = ""
    https_threads: int = 8
    https_tries: int = 5
    https_wait_s: float = 1.0
    push_block_size: int = 1024
    push_idle_s: float = 120.0
    max_size: int = MAX_PACKAGE
    update_s: float = 3.0
    boot_s: float = 1.5
    defer_s: float = 10.0
    new_port: bool = True
    keeps_package: bool = False
    persistent: bool = False
    revert_result: UpdateResult = UpdateResult.INITIAL

    def outcome_of(self, index: int) -> Outcome:
        """What becomes of the updates of a device, `index` from 0."""
        if isinstance(self.outcome, Mapping):
            return self.outcome.get(index, Outcome.SUCCESS)
        return self.outcome(index)

    def protocols(self, secure: bool) -> tuple[Protocol, ...]:
        """What a device can fetch packages by; `secure`: it speaks DTLS."""
        if self.method is DeliveryMethod.PUSH:
            return ()
        if self.pull is not None:
            return self.pull
        return (Protocol.COAPS,) if secure else (Protocol.COAP,)

    def wrong(self) -> Iterator[str]:
        """What cannot be, in words."""
        if not 1 <= len(self.version) <= MAX_VERSION or not self.version.isprintable():
            yield f"a firmware version has 1 to {MAX_VERSION} characters"
        if not set(self.objects) <= OBJECTS:
            yield "the firmware objects are 5 and 33629"
        if self.pull is not None and not set(self.pull) <= set(PULLS.values()):
            yield f"packages are fetched by {', '.join(PULLS)}"
        if not all(16 <= size <= 1024 for size in (self.block_size, self.push_block_size)):
            yield "blocks of firmware are 16 to 1024 bytes"
        waits = (self.block_s, self.push_idle_s, self.https_wait_s)
        if min(self.update_s, self.boot_s, self.defer_s, *waits) < 0:
            yield "the durations of an update are not negative"
        if self.https_threads < 1 or self.https_tries < 0:
            yield "at least 1 device fetches by HTTPS at a time, and tries are not negative"
        if not 1 <= self.max_size <= MAX_PACKAGE:
            yield f"a package has at most 1 to {MAX_PACKAGE} bytes"
        if self.revert_result not in REVERT_RESULTS:
            yield "the result of a revert is 0 or 8"


AS_SOLD: Final = FirmwareOptions()


def read_outcomes(texts: Sequence[str], name: Callable[[int], str]) -> Callable[[int], Outcome]:
    """Read `success,result-4`, taken in turn, and `PATTERN=revert`, for devices of such names.

    The last pattern that fits a name holds for it; `name` gives the name of an index. Raises
    UsageError("outcome_unknown").
    """
    in_turn: tuple[Outcome, ...] = (Outcome.SUCCESS,)
    patterns: list[tuple[str, Outcome]] = []
    for text in texts:
        pattern, equals, word = text.rpartition("=")
        if equals:
            patterns.append((pattern, _outcome(word)))
        else:
            in_turn = tuple(_outcome(part) for part in word.split(","))

    def outcome(index: int) -> Outcome:
        fitting = [found for pattern, found in patterns if fnmatch.fnmatchcase(name(index), pattern)]
        return fitting[-1] if fitting else in_turn[index % len(in_turn)]

    return outcome


def read_pulls(text: str) -> tuple[Protocol, ...]:
    """Read `coap,https`; raises UsageError("protocol_unknown")."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [word for word in words if word not in PULLS]
    if unknown or not words:
        raise UsageError(
            "protocol_unknown",
            f"packages cannot be fetched by {clean(text)}",
            f"one or more of {_listed(PULLS)}",
        )
    return tuple(dict.fromkeys(PULLS[word] for word in words))


def _outcome(word: str) -> Outcome:
    try:
        return Outcome(word.strip())
    except ValueError:
        raise UsageError(
            "outcome_unknown", f"no update ends with {clean(word)}", f"one of {_listed(Outcome)}"
        ) from None


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words)
