"""What a device proves itself by after its bootstrap: found or made, and on disk before it is told.

LwM2M Core 1.1.1 5.2 and appendix E.1. Keys are kept where they can be; a certificate is always a new
one, for the box does not keep the keys it makes for them.
"""

from datetime import datetime
from typing import Protocol

from ..db.credentials import Credential, CredentialOrigin, CredentialState, ProofKind
from ..errors import UsageError
from ..lwm2m.bootstrap_config import BootstrapConfig, Security
from ..lwm2m.bootstrap_plan import CertificateMaterial, Material, PskMaterial
from ..pki.devices import DeviceCertificate
from .credentials import Credentials


class DeviceAuthority(Protocol):
    """Who makes certificates for devices, by a clock that can be trusted."""

    def issue(self, endpoint: str) -> DeviceCertificate:
        """Make a key and a certificate; raises ApplianceError where it cannot be done now."""

    def roots(self) -> tuple[bytes, ...]:
        """DER of all trusted roots, newest first; empty while there are none."""

    def accepted_until(self, certificate: bytes) -> datetime | None:
        """When a certificate (DER) stops to be accepted, its root's end included; None: it is not."""


class Materials:
    """Makes what bootstrap gives; without an authority it gives no certificates."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._authority: DeviceAuthority | None = None

    def attach(self, authority: DeviceAuthority) -> None:
        self._authority = authority

    async def make(self, endpoint: str, config: BootstrapConfig, enrolling: bool) -> Material:
        """A device's credential, on disk when this returns; None where the configuration needs none.

        `enrolling`: it came with the enrolment key. Raises PeerError("identity_refused") where the
        window has closed meanwhile, UsageError, StoreError and what the authority raises.
        """
        if config.instances is not None or config.security is Security.NONE:
            return None
        if enrolling:
            # A key, whatever is configured: the bootstrap account of this device ends with the
            # enrolment window, so a certificate could never be renewed.
            return _material(await self._credentials.enrol(endpoint))
        if self.certifies(endpoint, config):
            return await self._certificate(endpoint)
        own = self._key(endpoint)
        return _material(await self._credentials.renew_psk(endpoint) if own is None else own)

    def certifies(self, endpoint: str, config: BootstrapConfig) -> bool:
        """Whether bootstrap would give an endpoint that is known a certificate."""
        if config.instances is not None:
            return False
        return config.security is Security.CERTIFICATE or (
            config.security is Security.AS_IS and self._key(endpoint) is None
        )

    def _key(self, endpoint: str) -> Credential | None:
        """The key to give a device again: one that waits to be brought, else the one it came with."""
        keys = [c for c in self._credentials.of(endpoint) if c.kind is ProofKind.PSK]
        offered = [c for c in keys if c.state is CredentialState.OFFERED]
        return max(offered or keys, key=lambda c: (c.last_used_ms, c.id), default=None)

    async def _certificate(self, endpoint: str) -> CertificateMaterial:
        """A new certificate.

        Where the endpoint has no key, its bootstrap account rests on a certificate, by which it will
        come again. The new one must not take the place of that: it stands beside it, and of those
        that bootstrap made before only the last that was used stays.
        """
        if self._authority is None or not (roots := self._authority.roots()):
            raise UsageError(
                "pki_empty", "the box has no certificate authority yet", "look at its certificates"
            )
        made = self._authority.issue(endpoint)
        has_key = self._key(endpoint) is not None
        before = [
            c
            for c in self._credentials.of(endpoint)
            if c.kind is ProofKind.CERTIFICATE and c.origin is CredentialOrigin.BOOTSTRAP
        ]
        await self._credentials.add_certificate(
            endpoint,
            made.certificate,
            made.fingerprint,
            made.serial,
            round(made.not_after.timestamp() * 1000),
            state=CredentialState.OFFERED if has_key else CredentialState.ACTIVE,
            origin=CredentialOrigin.BOOTSTRAP,
        )
        if not has_key:
            used = max((c.id for c in before if c.first_used_ms), default=None)
            for credential in before:
                if credential.id != used:
                    await self._credentials.remove(credential.id)
        return CertificateMaterial(made.certificate, made.key, roots[0])


def _material(credential: Credential) -> PskMaterial:
    return PskMaterial(credential.proof.value, credential.secret)
