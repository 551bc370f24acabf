"""Credentials, connections and certificates as the pages show them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..db.credentials import CredentialState, Proof, ProofKind, identity_text
from .api_certificates import CertificateEntry
from .credentials import CredentialEntry
from .devices import Device
from .language import ENGLISH, N_, gettext, language
from .wording import (
    CERTIFICATE_KINDS,
    CERTIFICATE_REASONS,
    CERTIFICATE_STATES,
    CREDENTIAL_STATES,
    fingerprint_text,
)

# Where /api/v1/certificates lists them together, a page tells them apart by what they are for.
OWN: Final = frozenset({"dtls", "https"})
RENEWED: Final[Mapping[str, str]] = {
    "dtls": N_("The certificate for devices is made anew"),
    "https": N_("The certificate for browsers is made anew"),
}


@dataclass(frozen=True, slots=True)
class Connection:
    """How a device speaks to the box: `secure` None where it is not registered."""

    secure: bool | None
    by: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True)
class CredentialView:
    """A credential with the addresses of what can be done to it; `state` in words."""

    entry: CredentialEntry
    state: str
    identity: str
    remove_url: str
    renew_url: str


@dataclass(frozen=True, slots=True)
class CertificateView:
    """A certificate in words."""

    entry: CertificateEntry
    title: str
    state: str
    reason: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something that happens by itself: when, in ms since 1970 UTC, to which certificate, and what."""

    time_ms: int
    what: str
    subject: str


@dataclass(frozen=True, slots=True)
class CertificatesPage:
    """The box's own certificates, the roots, the bridges between them; what is to come, soonest first."""

    own: tuple[CertificateView, ...]
    roots: tuple[CertificateView, ...]
    bridges: tuple[CertificateView, ...]
    steps: tuple[Step, ...]
    doubt: str

    @property
    def rolling(self) -> bool:
        return len(self.roots) > 1

    @property
    def overlap_ms(self) -> int:
        """When the last of the older roots is trusted no more."""
        return max((view.entry.trusted_until_ms for view in self.roots[1:]), default=0)


def connection(device: Device, proof: Proof | None) -> Connection:
    """How a device is connected; `proof` is what its session showed, None where that is not known."""
    if device.registration is None:
        return Connection(None)
    if not device.registration.secure:
        return Connection(False)
    if proof is None:
        return Connection(True)
    psk = proof.kind is ProofKind.PSK
    identity = identity_text(proof.value) if psk else fingerprint_text(proof.value.hex())
    return Connection(True, proof.kind.value, identity)


def credential_views(entries: Sequence[CredentialEntry]) -> tuple[CredentialView, ...]:
    return tuple(map(credential_view, entries))


def credential_view(entry: CredentialEntry) -> CredentialView:
    psk = entry.kind == ProofKind.PSK
    address = f"/credentials/{entry.id}"
    identity = entry.identity if psk else fingerprint_text(entry.identity)
    unused = entry.state == CredentialState.ACTIVE and entry.first_used_ms is None
    state = N_("Not used yet") if unused else CREDENTIAL_STATES[entry.state]
    return CredentialView(entry, state, identity, f"{address}/remove", f"{address}/renew")


def certificates_page(entries: Sequence[CertificateEntry], doubt: str) -> CertificatesPage:
    views = tuple(map(_certificate, entries))
    return CertificatesPage(
        own=tuple(view for view in views if view.entry.kind in OWN),
        roots=tuple(view for view in views if view.entry.kind == "root"),
        bridges=tuple(view for view in views if view.entry.kind == "cross"),
        steps=_steps(entries),
        doubt=doubt,
    )


def _certificate(entry: CertificateEntry) -> CertificateView:
    return CertificateView(
        entry=entry,
        title=CERTIFICATE_KINDS[entry.kind],
        state=CERTIFICATE_STATES[entry.state],
        reason=_reason(entry),
        fingerprint=fingerprint_text(entry.fingerprint),
    )


def _reason(entry: CertificateEntry) -> str:
    """What happens to a certificate and why: its own words, and where those are not understood, the usual."""
    usual = CERTIFICATE_REASONS.get((entry.kind, entry.state))
    return entry.reason if usual is None or language() is ENGLISH else gettext(usual)


def _steps(entries: Sequence[CertificateEntry]) -> tuple[Step, ...]:
    """What comes, soonest first. A bridge goes with the older root, so it is not told beside it."""
    steps: list[Step] = []
    for entry in entries:
        if entry.kind in OWN:
            if entry.next_step_ms is not None:
                steps.append(Step(entry.next_step_ms, RENEWED[entry.kind], entry.subject))
        elif entry.kind == "root" and entry.state == "old":
            steps.append(Step(entry.trusted_until_ms, N_("The older root is trusted no more"), entry.subject))
        elif entry.kind == "root":
            if entry.next_step_ms is not None:
                steps.append(Step(entry.next_step_ms, N_("A new root takes over, by itself"), entry.subject))
            steps.append(Step(entry.not_after_ms, N_("The root ends"), entry.subject))
    return tuple(sorted(steps, key=lambda step: step.time_ms))
