"""Who may do what in whose name: one table, asked before anything a device wants is done.

Over DTLS a device acts as whom its credential names, and as nobody else. Over plain CoAP anybody may
use a name, as long as it has no credential. Who has the enrolment key may bootstrap, under a name that
is free. LwM2M Core 1.1.1 sections 5.2 and 6.2.1; Transport 1.1.1 section 6.4.3 (4.03 Forbidden).
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from ..errors import PeerError, clean
from ..lwm2m.core import Core
from ..lwm2m.registration import MAX_PLAIN_ENDPOINTS
from .ports import Action, Sender

NOTIFY: Final = "notify"
log = logging.getLogger(__name__)


class Names(Protocol):
    """What the rules ask of `Credentials`."""

    def has_any(self, endpoint: str) -> bool: ...
    def may_enrol(self, endpoint: str) -> bool: ...
    def endpoints(self) -> int: ...


class Speaker(StrEnum):
    """The kinds of sender."""

    PLAIN = "plain"  # plain CoAP: an address, which proves nothing
    DEVICE = "device"  # a session that has proved to be an endpoint
    ENROLLING = "enrolling"  # a session by the enrolment key
    NOBODY = "nobody"  # a session whose credential is good no more


class Rule(StrEnum):
    """When an action is allowed."""

    OWN = "own"  # the name is that of the session
    FREE = "free"  # the name has no credential
    FREE_AND_PLAIN = "free_and_plain"  # nor does its registration rest on a session
    ENROLLABLE = "enrollable"  # the name may be had by enrolment now
    NEVER = "never"


RULES: Final[Mapping[tuple[Speaker, str], Rule]] = {
    (Speaker.PLAIN, Action.REGISTER): Rule.FREE,
    (Speaker.PLAIN, Action.UPDATE): Rule.FREE_AND_PLAIN,
    (Speaker.PLAIN, Action.DEREGISTER): Rule.FREE_AND_PLAIN,
    (Speaker.PLAIN, Action.SEND): Rule.FREE_AND_PLAIN,
    (Speaker.PLAIN, NOTIFY): Rule.FREE_AND_PLAIN,
    (Speaker.PLAIN, Action.BOOTSTRAP): Rule.FREE,
    (Speaker.PLAIN, Action.BOOTSTRAP_PACK): Rule.FREE,
    **{(Speaker.DEVICE, deed): Rule.OWN for deed in (*Action, NOTIFY)},
    (Speaker.ENROLLING, Action.REGISTER): Rule.NEVER,
    (Speaker.ENROLLING, Action.UPDATE): Rule.NEVER,
    (Speaker.ENROLLING, Action.DEREGISTER): Rule.NEVER,
    (Speaker.ENROLLING, Action.SEND): Rule.NEVER,
    (Speaker.ENROLLING, NOTIFY): Rule.NEVER,
    (Speaker.ENROLLING, Action.BOOTSTRAP): Rule.ENROLLABLE,
    (Speaker.ENROLLING, Action.BOOTSTRAP_PACK): Rule.ENROLLABLE,
    **{(Speaker.NOBODY, deed): Rule.NEVER for deed in (*Action, NOTIFY)},
}
_HINTS: Final[Mapping[Rule, str]] = {
    Rule.OWN: "use the endpoint name that its credential was made for",
    Rule.FREE: "the name has a credential: speak DTLS with it",
    Rule.FREE_AND_PLAIN: "the name has a credential: speak DTLS with it",
    Rule.ENROLLABLE: "the name is taken: use another, or remove its credentials",
    Rule.NEVER: "bootstrap first; the enrolment key is good for nothing else",
}


@dataclass(frozen=True, slots=True)
class Door:
    """Lets through what a sender may do. `max_plain` bounds the names that plain CoAP can bring up."""

    core: Core
    names: Names
    max_plain: int = MAX_PLAIN_ENDPOINTS

    def check(self, deed: str, sender: Sender, endpoint: str) -> None:
        """Whether `sender` may do `deed` (an `Action` or NOTIFY) in the name of `endpoint`.

        Raises PeerError: `identity_refused`, `endpoints_full`.
        """
        speaker = speaker_of(sender)
        rule = RULES[speaker, deed]
        if not self._allows(rule, sender, endpoint):
            log.warning(
                "identity refused",
                extra={"ENDPOINT": endpoint, "PEER": sender.address, "ACTION": str(deed), "RULE": rule.value},
            )
            raise PeerError(
                "identity_refused", f"this peer may not {deed} as {clean(endpoint)}", _HINTS[rule]
            )
        if speaker is Speaker.PLAIN and deed == Action.REGISTER:
            self._make_room(endpoint)

    def _allows(self, rule: Rule, sender: Sender, endpoint: str) -> bool:
        match rule:
            case Rule.OWN:
                return sender.endpoint == endpoint
            case Rule.FREE:
                return not self.names.has_any(endpoint)
            case Rule.FREE_AND_PLAIN:
                device = self.core.device(endpoint)
                registration = None if device is None else device.registration
                secure = registration is not None and registration.session
                return not secure and not self.names.has_any(endpoint)
            case Rule.ENROLLABLE:
                return self.names.may_enrol(endpoint)
        return False

    def _make_room(self, endpoint: str) -> None:
        """Names that nobody vouches for stay in the file for good, so there is a bound to them."""
        if self.core.device(endpoint) is not None:
            return
        # Every name with a credential is known to the core (`Core.know`).
        if len(self.core) - self.names.endpoints() >= self.max_plain:
            log.warning("too many plain endpoints", extra={"ENDPOINT": endpoint, "LIMIT": self.max_plain})
            raise PeerError(
                "endpoints_full",
                f"{self.max_plain} endpoint names without a credential are known already",
                "give devices credentials, or raise max_plain_endpoints in [fleet]",
            )


def speaker_of(sender: Sender) -> Speaker:
    """What kind of sender this is."""
    if not sender.secure:
        return Speaker.PLAIN
    if sender.enrolling:
        return Speaker.ENROLLING
    return Speaker.NOBODY if sender.endpoint is None else Speaker.DEVICE
