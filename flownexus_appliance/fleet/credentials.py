"""Who may come in, and as whom: the memory of table `credential`, and the one place that changes it.

Nothing is told to a device or let in before it is on disk. What is taken away goes the other way
round: out of the DTLS side's list first, then from the disk, then the registration that rested on it;
where the disk fails it is let in again, and the operator hears of it.

LwM2M Core 1.1.1 section 5.2; RFC 4279 (PSK identities). Keys appear in no log, event or `repr`.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from ..db.credentials import Credential, CredentialOrigin, CredentialState
from ..db.migrate import StoreError
from ..db.store import Store
from ..db.writer import when_done
from ..errors import PeerError, UsageError, clean
from ..events import EventBus
from ..lwm2m.core import Moment
from ..lwm2m.requests import check_endpoint
from . import enrolment
from .enrolment import DURATION_S, Enrolment, EnrolmentWindow
from .keys import check_identity, check_key, identities, make_key, taken
from .ports import Admission, Proof, ProofKind

FINGERPRINT_BYTES: Final = 32
# A device that never gets through its bootstrap asks for a new certificate each time.
MAX_OFFERED: Final = 4
USES_EVERY_S: Final = 60.0
ENROLMENT_ID: Final = 0  # of the Admission of whoever enrols
log = logging.getLogger(__name__)

Changed = Callable[[Proof, bytes | None], None]


@dataclass(slots=True)
class Consequences:
    """What a change means for the devices, filled in by the fleet."""

    guarded: Callable[[str], None]  # the endpoint has its first credential
    carries: Callable[[str, Proof], bool]  # may its registration rest on a session of this proof
    ended: Callable[[str], None]  # its registration has lost what it rested on
    forgotten: Callable[[str], None]  # it was never seen, and has no credential any more


@dataclass(frozen=True, slots=True)
class _Change:
    """What one commit is to hold: credentials that end (as `state`), one that is new, one in use."""

    ending: Sequence[Credential] = ()
    state: CredentialState = CredentialState.REPLACED
    added: Credential | None = None
    used: Credential | None = None
    vacant: str = ""  # the endpoint that is left without any


class Credentials:
    """All good credentials; implements `ports.Keyring`. One instance, in the event loop."""

    consequences: Consequences

    def __init__(self, store: Store, bus: EventBus, clock: Callable[[], Moment]) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        # `_open` is what a peer may come in by; what is being taken away is in `_known` until the
        # disk has it, and what is being added in `_adding`.
        self._open: dict[Proof, Credential] = {}
        self._known: dict[int, Credential] = {}
        self._adding: dict[Proof, Credential] = {}
        self._by_endpoint: dict[str, set[int]] = {}
        self._enrolment = Enrolment()
        self._watchers: list[Changed] = []
        self._uses: set[int] = set()
        self._first_uses: set[int] = set()
        self._successors: set[int] = set()
        self._uses_at = 0.0

    def start(self, kept: Iterable[Credential]) -> None:
        """Take up what an earlier run kept."""
        for credential in kept:
            self._remember(credential)
        self._uses_at = self._clock().now + USES_EVERY_S

    # Keyring

    def secrets(self) -> Mapping[Proof, bytes]:
        """See `ports.Keyring`."""
        known = {proof: credential.secret for proof, credential in self._open.items()}
        if self._enrolment.window is not None:
            known[enrolment.PROOF] = self._enrolment.window.key
        return known

    def admit(self, proof: Proof) -> Admission | None:
        """See `ports.Keyring`."""
        admission = self.whose(proof)
        if proof in self._open:
            self._use(self._open[proof])
        return admission

    def whose(self, proof: Proof) -> Admission | None:
        """See `ports.Keyring`."""
        if self._enrolment.window is not None and proof == enrolment.PROOF:
            return Admission(None, ENROLMENT_ID)
        credential = self._open.get(proof)
        return None if credential is None else Admission(credential.endpoint, credential.id)

    def watch(self, changed: Changed) -> None:
        """See `ports.Keyring`."""
        self._watchers.append(changed)

    # What is known

    def of(self, endpoint: str) -> tuple[Credential, ...]:
        """The good credentials of an endpoint, oldest first; `Reader.credentials` has those that ended."""
        return tuple(self._known[number] for number in sorted(self._by_endpoint.get(endpoint, ())))

    def all(self) -> tuple[Credential, ...]:
        """The good credentials of everybody, oldest first."""
        return tuple(self._known[number] for number in sorted(self._known))

    def get(self, credential_id: int) -> Credential:
        """A good credential; raises UsageError("credential_unknown")."""
        credential = self._known.get(credential_id)
        if credential is None:
            raise UsageError(
                "credential_unknown",
                f"no credential {credential_id} that could still be used",
                "list the credentials of its device: what ended stays in the list",
            )
        return credential

    def has_any(self, endpoint: str) -> bool:
        """Whether the name is guarded: it may not be used over plain CoAP."""
        return endpoint in self._by_endpoint

    def endpoints(self) -> int:
        """How many names have credentials."""
        return len(self._by_endpoint)

    # Changes

    async def add_psk(
        self,
        endpoint: str,
        identity: bytes | None = None,
        key: bytes | None = None,
        *,
        state: CredentialState = CredentialState.ACTIVE,
        origin: CredentialOrigin = CredentialOrigin.OPERATOR,
        label: str = "",
    ) -> Credential:
        """Let an endpoint in by a pre-shared key; done when it is on disk.

        The identity defaults to the endpoint's name (where that is taken or too long, to another),
        the key to 128 random bits. Raises UsageError: `endpoint_missing`, `endpoint_invalid`,
        `identity_invalid`, `identity_taken`, `key_invalid`; and StoreError.
        """
        check_endpoint(endpoint, UsageError)
        if identity is None:
            identity = self._free_identity(endpoint)
        check_identity(identity)
        if key is None:
            key = make_key()
        check_key(key)
        credential = Credential(
            id=self._store.new_credential_id(),
            endpoint=endpoint,
            proof=Proof(ProofKind.PSK, identity),
            state=state,
            origin=origin,
            made_ms=self._clock().wall_ms,
            secret=key,
            label=label,
        )
        return await self._add(credential)

    async def add_certificate(
        self,
        endpoint: str,
        certificate: bytes,
        fingerprint: bytes,
        serial: int,
        not_after_ms: int,
        *,
        state: CredentialState = CredentialState.ACTIVE,
        origin: CredentialOrigin = CredentialOrigin.OPERATOR,
        label: str = "",
    ) -> Credential:
        """Let an endpoint in by a certificate (DER, its SHA-256); done when it is on disk.

        Raises UsageError: `endpoint_missing`, `endpoint_invalid`, `certificate_invalid`,
        `identity_taken`; and StoreError.
        """
        check_endpoint(endpoint, UsageError)
        if len(fingerprint) != FINGERPRINT_BYTES or not certificate:
            raise UsageError(
                "certificate_invalid", "not a certificate with its SHA-256", "give both, as DER and 32 bytes"
            )
        credential = Credential(
            id=self._store.new_credential_id(),
            endpoint=endpoint,
            proof=Proof(ProofKind.CERTIFICATE, fingerprint),
            state=state,
            origin=origin,
            made_ms=self._clock().wall_ms,
            certificate=certificate,
            serial=serial,
            not_after_ms=not_after_ms,
            label=label,
        )
        return await self._add(credential)

    async def renew_psk(self, endpoint: str) -> Credential:
        """The key that is to take the place of an endpoint's present ones, for bootstrap to bring.

        It is offered: good at once, and when it is first used the earlier keys are `replaced` and
        end. One that is offered already is given again, for a device that failed half-way. A new
        certificate takes the place of earlier ones in the same way, by `add_certificate` with
        CredentialState.OFFERED. Raises as `add_psk`.
        """
        offered = self._offered(endpoint, ProofKind.PSK)
        if offered:
            return offered[-1]
        return await self.add_psk(endpoint, state=CredentialState.OFFERED, origin=CredentialOrigin.BOOTSTRAP)

    async def replace_psk(
        self, endpoint: str, identity: bytes, key: bytes, ending: Collection[int], *, label: str = ""
    ) -> Credential:
        """Let a key in, in the place of credentials of the endpoint that it names by their ids.

        One commit, so the name is guarded all the time. Theirs may be the same identity; their sessions end,
        and the registration that rests on them. Raises as `add_psk`.
        """
        check_endpoint(endpoint, UsageError)
        check_identity(identity)
        check_key(key)
        going = tuple(c for c in self.of(endpoint) if c.id in ending and self._is_open(c))
        credential = Credential(
            id=self._store.new_credential_id(),
            endpoint=endpoint,
            proof=Proof(ProofKind.PSK, identity),
            state=CredentialState.ACTIVE,
            origin=CredentialOrigin.OPERATOR,
            made_ms=self._clock().wall_ms,
            secret=key,
            label=label,
        )
        orphaned = any(self.consequences.carries(endpoint, c.proof) for c in going)
        self._check_free(credential.proof, going)
        done = self._do(_Change(ending=going, added=credential))
        if orphaned:
            when_done(done, lambda: self.consequences.ended(endpoint))
        await asyncio.shield(done)
        return credential

    async def remove(self, credential_id: int) -> None:
        """Take a credential away, with the sessions it has made and the registration that rests on them.

        Raises UsageError("credential_unknown"), and StoreError: then it is as before, but for the
        sessions.
        """
        credential = self.get(credential_id)
        if not self._is_open(credential):
            raise UsageError(
                "credential_unknown", f"credential {credential_id} is being removed", "nothing is left to do"
            )
        await self._revoke(credential.endpoint, (credential,))

    async def remove_endpoint(self, endpoint: str) -> int:
        """Take all credentials of an endpoint away, as `remove` does; how many there were."""
        going = tuple(filter(self._is_open, self.of(endpoint)))
        if going:
            await self._revoke(endpoint, going)
        return len(going)

    # Enrolment

    def open_enrolment(self, duration_s: float = DURATION_S) -> EnrolmentWindow:
        """Open the enrolment window, with a new key; an open one ends. A restart closes it.

        Raises UsageError("duration_invalid").
        """
        before = self._enrolment.window
        window = self._enrolment.open(duration_s, self._clock())
        if before is not None:
            self._tell(enrolment.PROOF, None)
        self._tell(enrolment.PROOF, window.key)
        log.info("enrolment opened", extra={"DURATION_S": duration_s})
        self._bus.publish("enrolment", {"open": True, "ends_ms": window.ends_ms})
        return window

    def close_enrolment(self) -> None:
        """Close the enrolment window; who is half-way through is cut off."""
        if self._enrolment.window is None:
            return
        self._enrolment.close()
        self._tell(enrolment.PROOF, None)
        log.info("enrolment closed")
        self._bus.publish("enrolment", {"open": False, "ends_ms": self._clock().wall_ms})

    def enrolment(self) -> EnrolmentWindow | None:
        """The window that is open, if one is."""
        return self._enrolment.window

    def may_enrol(self, endpoint: str) -> bool:
        """Whether a device with the enrolment key may have this name.

        Nobody may have it already, but for credentials of this same window that never were used: of a
        device whose bootstrap failed half-way.
        """
        if self._enrolment.window is None or any(c.endpoint == endpoint for c in self._adding.values()):
            return False
        known = self.of(endpoint)
        if not known and len(self._enrolment.made) >= enrolment.MAX_DEVICES:
            return False
        return all(self._is_open(c) and self._enrolment.unclaimed(c) for c in known)

    async def enrol(self, endpoint: str) -> Credential:
        """A key of its own for a device that came with the enrolment key; done when it is on disk.

        An earlier one of this window that was never used ends. Raises PeerError("identity_refused"),
        and StoreError.
        """
        if not self.may_enrol(endpoint):
            raise PeerError(
                "identity_refused",
                f"{clean(endpoint)} cannot enrol",
                "open the enrolment window; a name that has credentials keeps them until they are removed",
            )
        unclaimed = self.of(endpoint)
        credential = Credential(
            id=self._store.new_credential_id(),
            endpoint=endpoint,
            proof=Proof(ProofKind.PSK, self._free_identity(endpoint, unclaimed)),
            state=CredentialState.ACTIVE,
            origin=CredentialOrigin.ENROLMENT,
            made_ms=self._clock().wall_ms,
            secret=make_key(),
        )
        self._enrolment.made.difference_update(c.id for c in unclaimed)
        self._enrolment.made.add(credential.id)
        return await self._add(credential, unclaimed)

    # Time

    def tick(self, moment: Moment) -> None:
        """What time brings about: the window closes, uses are written down. Raises StoreError."""
        if self._enrolment.over(moment):
            self.close_enrolment()
        for number in tuple(self._first_uses):
            self._write_first_use(number)
        if moment.now >= self._uses_at:
            self._uses_at = moment.now + USES_EVERY_S
            self.write_uses()

    def write_uses(self) -> None:
        """Gather when credentials were last used; a call a minute, and one at the end."""
        used = {n: self._known[n].last_used_ms for n in self._uses if n in self._known}
        if used:
            self._store.put_credential_uses(used)
            self._store.commit()
        self._uses.clear()

    # Within

    async def _add(self, credential: Credential, ending: Sequence[Credential] = ()) -> Credential:
        self._check_free(credential.proof, ending)
        if credential.state is CredentialState.OFFERED:
            offered = self._offered(credential.endpoint, credential.kind)
            ending = (*ending, *offered[: max(0, len(offered) + 1 - MAX_OFFERED)])
        # Who waits may give up: what becomes of the change does not hang on it.
        await asyncio.shield(self._do(_Change(ending=ending, added=credential)))
        return credential

    def _check_free(self, proof: Proof, ending: Sequence[Credential]) -> None:
        """Raises UsageError("identity_taken") where a proof stands for somebody who does not give it up."""
        if proof == enrolment.PROOF or proof in self._adding:
            raise taken(proof, None)
        owner = self._open.get(proof)
        if owner is not None and owner not in ending:
            raise taken(proof, owner)

    async def _revoke(self, endpoint: str, going: Sequence[Credential]) -> None:
        staying = [c for c in self.of(endpoint) if c not in going and self._is_open(c)]
        staying += [c for c in self._adding.values() if c.endpoint == endpoint]
        orphaned = not staying or any(self.consequences.carries(endpoint, c.proof) for c in going)
        done = self._do(
            _Change(ending=going, state=CredentialState.REVOKED, vacant="" if staying else endpoint)
        )
        if orphaned:
            when_done(done, lambda: self.consequences.ended(endpoint))
        await asyncio.shield(done)

    def _do(self, change: _Change) -> asyncio.Future[None]:
        """Do a change: what ends is out at once, what is new is in with the commit."""
        now_ms = self._clock().wall_ms
        ended = [replace(c, state=change.state, ended_ms=now_ms) for c in change.ending]
        self._shut(change.ending)
        try:
            for credential in (*ended, change.added, change.used):
                if credential is not None:
                    self._store.put_credential(credential)
            if change.vacant:
                self._store.remove_unseen(change.vacant)
            done = self._store.commit()
        except StoreError:
            self._reopen(change.ending)
            raise
        if change.added is not None:
            self._adding[change.added.proof] = change.added
        when_done(done, lambda: self._settled(change, ended), lambda: self._lost(change))
        return done

    def _settled(self, change: _Change, ended: Iterable[Credential]) -> None:
        for credential in ended:
            self._forget(credential)
            self._announce(credential, credential.state.value)
        if change.vacant:
            self.consequences.forgotten(change.vacant)
        if change.used is not None:
            self._successors.discard(change.used.id)
            self._announce(change.used, "first_used")
        if change.added is not None:
            self._let_in(change.added)

    def _lost(self, change: _Change) -> None:
        self._reopen(change.ending)
        if change.used is not None:
            self._first_uses.add(change.used.id)
        if change.added is not None:
            del self._adding[change.added.proof]

    def _let_in(self, credential: Credential) -> None:
        del self._adding[credential.proof]
        first = not self.has_any(credential.endpoint)
        self._remember(credential)
        self._tell(credential.proof, credential.secret)
        self._announce(credential, "added")
        if first:
            self.consequences.guarded(credential.endpoint)

    def _shut(self, going: Iterable[Credential]) -> None:
        for credential in going:
            del self._open[credential.proof]
            self._tell(credential.proof, None)

    def _reopen(self, going: Iterable[Credential]) -> None:
        for credential in going:
            self._open[credential.proof] = credential
            self._tell(credential.proof, credential.secret)

    def _is_open(self, credential: Credential) -> bool:
        """Whether one that is known is not being taken away."""
        return self._open.get(credential.proof) is credential

    def _remember(self, credential: Credential) -> None:
        self._open[credential.proof] = self._known[credential.id] = credential
        self._by_endpoint.setdefault(credential.endpoint, set()).add(credential.id)

    def _forget(self, credential: Credential) -> None:
        del self._known[credential.id]
        left = self._by_endpoint[credential.endpoint]
        left.remove(credential.id)
        if not left:
            del self._by_endpoint[credential.endpoint]

    def _use(self, credential: Credential) -> None:
        now_ms = self._clock().wall_ms
        self._remember(
            replace(
                credential,
                state=CredentialState.ACTIVE,
                first_used_ms=credential.first_used_ms or now_ms,
                last_used_ms=now_ms,
            )
        )
        self._uses.add(credential.id)
        if not credential.first_used_ms:
            self._first_uses.add(credential.id)
            if credential.state is CredentialState.OFFERED:
                self._successors.add(credential.id)
            with suppress(StoreError):  # the tick tries again
                self._write_first_use(credential.id)

    def _write_first_use(self, number: int) -> None:
        """Write down that a credential is in use, and end those whose place it takes."""
        used = self._known.get(number)
        if used is None:
            self._first_uses.discard(number)
            return
        if not self._is_open(used):
            return  # it is being taken away, with this in its row; should that fail, it is its turn
        earlier: tuple[Credential, ...] = ()
        if number in self._successors:
            rivals = (c for c in self.of(used.endpoint) if c.kind is used.kind and c.id < number)
            earlier = tuple(filter(self._is_open, rivals))
        self._do(_Change(ending=earlier, used=used))
        self._first_uses.discard(number)

    def _offered(self, endpoint: str, kind: ProofKind) -> tuple[Credential, ...]:
        return tuple(
            c
            for c in self.of(endpoint)
            if c.state is CredentialState.OFFERED and c.kind is kind and self._is_open(c)
        )

    def _free_identity(self, endpoint: str, ending: Sequence[Credential] = ()) -> bytes:
        """The endpoint's name where it can be had: what both Zephyr and Nordic make of it."""
        for identity in identities(endpoint):
            proof = Proof(ProofKind.PSK, identity)
            owner = self._open.get(proof)
            if proof != enrolment.PROOF and proof not in self._adding and (owner is None or owner in ending):
                break
        return identity

    def _tell(self, proof: Proof, secret: bytes | None) -> None:
        for changed in self._watchers:
            changed(proof, secret)

    def _announce(self, credential: Credential, change: str) -> None:
        log.info(
            "credential changed",
            extra={"ENDPOINT": credential.endpoint, "CREDENTIAL_ID": credential.id, "CHANGE": change},
        )
        self._bus.publish(
            "credential",
            {
                "endpoint": credential.endpoint,
                "credential_id": credential.id,
                "kind": credential.kind.value,
                "change": change,
                "time_ms": self._clock().wall_ms,
            },
        )
