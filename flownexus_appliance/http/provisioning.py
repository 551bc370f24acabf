"""Giving devices their credentials: what the API, the pages and the command line share.

The one place of the web side that sees keys. A key leaves in `Given`, in the answer to the request that made
it, and never again; `credentials.CredentialEntry`, which lists show, has none. LwM2M Core 1.1.1 section 5.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from ..db.credentials import Credential, CredentialState, Proof, ProofKind, identity_text
from ..errors import UsageError
from ..pki.encoding import pem_of_certificates, pem_of_key
from .credentials import CredentialEntry, entry_of
from .ports import Certificates, Credentials, EnrolmentWindow, IssuedCertificate, Parts

MAX_LABEL: Final = 100


@dataclass(frozen=True, slots=True)
class PskGiven:
    """A pre-shared key, hexadecimal; its identity as text where it is text, and its bytes, hexadecimal."""

    identity: str
    identity_hex: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateGiven:
    """A device's certificate, its key ("" where the device has it), and the roots to trust, all as PEM.

    The newest root comes first.
    """

    certificate: str
    private_key: str = field(repr=False)
    ca: str


@dataclass(frozen=True, slots=True)
class Given:
    """What a device is to hold, told once. `uris` are the addresses it can be pointed at."""

    credential: CredentialEntry
    psk: PskGiven | None
    certificate: CertificateGiven | None
    uris: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnrolmentState:
    """Whether devices may enrol, and until when."""

    open: bool
    ends_ms: int | None


@dataclass(frozen=True, slots=True)
class EnrolmentGiven:
    """What a device enrols by, told when the window is opened and not again."""

    ends_ms: int
    psk: PskGiven
    uris: tuple[str, ...]


async def give_psk(
    parts: Parts, endpoint: str, identity: str | None = None, key: str | None = None, label: str = ""
) -> Given:
    """Make or take a pre-shared key (`key` hexadecimal) for a device.

    Raises UsageError: key_invalid, identity_invalid, identity_taken, endpoint_invalid; and StoreError.
    """
    secret = None if key is None else read_key(key)
    name = None if identity is None else identity.encode()
    return _psk_given(parts, await parts.credentials.add_psk(endpoint, name, secret, label=label))


async def put_psk(
    parts: Parts, endpoint: str, identity: str, key: str, present: Sequence[Credential], label: str
) -> None:
    """Have a pre-shared key (`key` hexadecimal) let an endpoint in, in the place of the `present` ones.

    One that is among them already stays, with its sessions. Raises as `give_psk`.
    """
    secret, proof = read_key(key), Proof(ProofKind.PSK, identity.encode())
    same = [one for one in present if one.proof == proof and one.secret == secret]
    if not same:
        ending = {one.id for one in present}
        await parts.credentials.replace_psk(endpoint, proof.value, secret, ending, label=label)
    else:
        for one in present:
            if one not in same:
                await parts.credentials.remove(one.id)


async def give_certificate(
    parts: Parts,
    endpoint: str,
    request: str | None = None,
    valid_days: int | None = None,
    label: str = "",
    *,
    state: CredentialState = CredentialState.ACTIVE,
) -> Given:
    """Make a certificate for a device: for the key of its `request` (PKCS#10, PEM), or with a new key.

    Raises UsageError and PkiError as `ports.Certificates.certify` and `ports.Credentials.add_certificate`.
    """
    pkcs10 = None if request is None else request.encode()
    issued = parts.certificates.certify(endpoint, pkcs10, valid_days)
    added = await _list(parts.credentials, endpoint, issued, label, state)
    return Given(entry_of(added), None, _certificate_given(parts.certificates, issued), parts.coap_uris)


async def renew(
    parts: Parts, credential_id: int, request: str | None = None, valid_days: int | None = None
) -> Given:
    """Make the credential that takes a present one's place as soon as the device uses it.

    The present one is good until then. `request` and `valid_days` are for certificates. Raises
    UsageError("credential_unknown"), and as `give_certificate`.
    """
    present = parts.credentials.get(credential_id)
    if present.kind is ProofKind.PSK:
        if request is not None or valid_days is not None:
            raise UsageError(
                "body_invalid",
                f"credential {credential_id} is a key",
                "csr and valid_days are for certificates",
            )
        return _psk_given(parts, await parts.credentials.renew_psk(present.endpoint))
    offered = CredentialState.OFFERED
    return await give_certificate(parts, present.endpoint, request, valid_days, present.label, state=offered)


def open_enrolment(parts: Parts, minutes: int) -> EnrolmentGiven:
    """Let unknown devices enrol; a window that is open already ends, and with it its key."""
    window = parts.credentials.open_enrolment(minutes * 60.0)
    return EnrolmentGiven(window.ends_ms, psk_words(window.identity, window.key), parts.coap_uris)


def enrolment_state(window: EnrolmentWindow | None) -> EnrolmentState:
    return EnrolmentState(False, None) if window is None else EnrolmentState(True, window.ends_ms)


def psk_words(identity: bytes, key: bytes) -> PskGiven:
    return PskGiven(identity_text(identity), identity.hex(), key.hex())


def read_key(text: str) -> bytes:
    """A key from hexadecimal text; raises UsageError("key_invalid"), which does not repeat it."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(
            "key_invalid",
            "the key is not hexadecimal",
            "write two digits a byte: 00112233445566778899aabbccddeeff",
        ) from None


def ca_pem(certificates: Certificates) -> str:
    """All trusted roots as PEM, newest first; raises UsageError("ca_missing") while there are none."""
    return pem_of_certificates(*trusted_roots(certificates))


def trusted_roots(certificates: Certificates) -> tuple[bytes, ...]:
    """DER of the trusted roots, of which there is at least one; raises UsageError("ca_missing")."""
    roots = tuple(certificates.roots())
    if not roots:
        doubt = certificates.doubt()
        raise UsageError(
            "ca_missing",
            f"the box has no root certificate yet: {doubt}"
            if doubt
            else "the box has no root certificate yet",
            "it is made as soon as the clock is right; devices with a pre-shared key need none",
        )
    return roots


def _psk_given(parts: Parts, credential: Credential) -> Given:
    words = psk_words(credential.proof.value, credential.secret)
    return Given(entry_of(credential), words, None, parts.coap_uris)


def _certificate_given(certificates: Certificates, issued: IssuedCertificate) -> CertificateGiven:
    return CertificateGiven(
        certificate=pem_of_certificates(issued.certificate),
        private_key=pem_of_key(issued.key) if issued.key else "",
        ca=ca_pem(certificates),
    )


async def _list(
    credentials: Credentials, endpoint: str, issued: IssuedCertificate, label: str, state: CredentialState
) -> Credential:
    """Have a certificate let in: one that is not in the list is refused, whoever signed it."""
    return await credentials.add_certificate(
        endpoint,
        issued.certificate,
        issued.fingerprint,
        issued.serial,
        int(issued.not_after.timestamp() * 1000),
        state=state,
        label=label,
    )
