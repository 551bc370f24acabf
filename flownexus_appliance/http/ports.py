"""What the web side needs from the rest of the house, as types; and what its own parts share.

`Fleet` and its kin are met by `fleet/` and `app.py`, without either importing the other's classes for it.
All of them are called in the event loop.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from aiohttp import web

from ..db.credentials import Credential, CredentialState, Proof
from ..db.reads import Reader
from ..events import EventBus
from ..lwm2m.bootstrap_config import BootstrapConfig
from ..lwm2m.links import Link
from ..lwm2m.model import ModelSet
from ..lwm2m.paths import Path
from ..lwm2m.values import Record
from ..pki.describe import CertificateStatus
from .static import Assets
from .stream import Hub


class OperationResult(Protocol):
    """How an operation on a device ended: `status` CONFIRMED or FAILED, `code` as in "2.05"."""

    @property
    def status(self) -> str: ...
    @property
    def code(self) -> str: ...
    @property
    def values(self) -> tuple[Record, ...]: ...
    @property
    def links(self) -> tuple[Link, ...]: ...
    @property
    def message(self) -> str: ...
    @property
    def hint(self) -> str: ...


class Fleet(Protocol):
    """The devices as they are now, and the way to act on one."""

    def presence(self, endpoint: str) -> str:
        """online, sleeping or offline; offline for a name never heard of."""

    def heard_ms(self, endpoint: str) -> int | None:
        """When the device last sent anything, ms since 1970 UTC; None when not in this run."""

    def observed(self, endpoint: str) -> frozenset[Path]:
        """The paths the device reports by itself."""

    def proof(self, endpoint: str) -> Proof | None:
        """What the DTLS session proved that the device is registered by; None without one."""

    def counts(self) -> Mapping[str, int]:
        """How many devices are in each state of presence."""

    async def perform(
        self, endpoint: str, operation: str, path: Path, value: object | None, arguments: str | None
    ) -> OperationResult:
        """Do it now; raises UsageError when it cannot be tried (endpoint_unknown, value_invalid, ...)."""


class EnrolmentWindow(Protocol):
    """An open enrolment: identity and key of its PSK; its end in ms since 1970 UTC."""

    @property
    def identity(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    @property
    def ends_ms(self) -> int: ...


class Credentials(Protocol):
    """Who devices are. Changes are done when they are on disk; they raise StoreError when they are not.

    `Reader.credentials` has those that ended too. A `Credential` holds its key: what leaves this package
    is `provisioning.Given`, once, and `credentials.CredentialEntry`, which has none.
    """

    def of(self, endpoint: str) -> Sequence[Credential]:
        """The good ones of a name."""

    def all(self) -> Sequence[Credential]:
        """All good ones."""

    def get(self, credential_id: int) -> Credential:
        """A good one; raises UsageError("credential_unknown")."""

    async def add_psk(
        self, endpoint: str, identity: bytes | None = None, key: bytes | None = None, *, label: str = ""
    ) -> Credential:
        """Let a key in; what is None is made.

        UsageError: endpoint_invalid, identity_invalid, identity_taken, key_invalid.
        """

    async def add_certificate(
        self,
        endpoint: str,
        certificate: bytes,
        fingerprint: bytes,
        serial: int,
        not_after_ms: int,
        *,
        state: CredentialState = CredentialState.ACTIVE,
        label: str = "",
    ) -> Credential:
        """Let a certificate in, by its DER and SHA-256.

        UsageError: endpoint_invalid, certificate_invalid, identity_taken.
        """

    async def renew_psk(self, endpoint: str) -> Credential:
        """The PSK that takes the place of the present ones once the device has used it."""

    async def remove(self, credential_id: int) -> None:
        """End one, its sessions and what was registered by it; raises UsageError("credential_unknown")."""

    async def remove_endpoint(self, endpoint: str) -> int:
        """End all of a name; how many there were."""

    def open_enrolment(self, duration_s: float = 600.0) -> EnrolmentWindow:
        """Open enrolment with a new key, in place of a window that is open."""

    def close_enrolment(self) -> None: ...

    def enrolment(self) -> EnrolmentWindow | None:
        """The open window, None where there is none."""


class IssuedCertificate(Protocol):
    """A certificate made for a device (DER). `key` is PKCS#8 DER, empty where the device has its own."""

    @property
    def certificate(self) -> bytes: ...
    @property
    def key(self) -> bytes: ...
    @property
    def fingerprint(self) -> bytes: ...
    @property
    def serial(self) -> int: ...
    @property
    def not_after(self) -> datetime: ...


class Change(Protocol):
    """One thing that was done to the box's certificates, as a sentence for people."""

    @property
    def message(self) -> str: ...


class Certificates(Protocol):
    """The box's own authority, at the clock of the box.

    What signs raises PkiError("clock_untrusted") while `doubt` says something. Changes are in use by
    the servers, and told to the journal, when they return.
    """

    def doubt(self) -> str:
        """Why the clock cannot be right, so that nothing is signed; "" where it can."""

    def describe(self) -> Sequence[CertificateStatus]:
        """All certificates of the box: roots newest first, cross certificates, the server's own (the
        provisional one where that serves)."""

    def roots(self) -> Sequence[bytes]:
        """DER of all trusted roots, newest first; empty while there are none."""

    def certify(self, endpoint: str, request: bytes | None, valid_days: int | None) -> IssuedCertificate:
        """Make a device's certificate, for the key of its PKCS#10 `request` (PEM or DER) or for a new one.

        `valid_days` None: as long as is usual. UsageError: name_invalid, name_too_long, validity_invalid,
        request_unreadable, request_key_unsupported, request_unsigned, request_name; PkiError.
        """

    async def rotate(self) -> Sequence[Change]:
        """Make the server's certificates anew now."""

    async def roll_over(self, overlap_days: int | None) -> Sequence[Change]:
        """Make the next root. `overlap_days` None: as long as is usual. UsageError: overlap_invalid,
        roll_over_limit."""

    async def finish_roll_over(self) -> Sequence[Change]:
        """Trust the newest root alone from now on; raises UsageError("roll_over_none")."""


class Bootstrap(Protocol):
    """What devices are given at bootstrap; the name "" is the default, for those without their own."""

    def config(self, endpoint: str) -> BootstrapConfig | None:
        """A name's own configuration, None where it has none. For "" there is always one."""

    def configs(self) -> Mapping[str, BootstrapConfig]:
        """All that were configured by name; "" is among them only where the default was changed."""

    async def put_config(self, endpoint: str, config: BootstrapConfig | None) -> None:
        """Keep a configuration in place of an earlier one, or (None) have none: for "", the built-in one.

        Done when it is on disk; raises StoreError when it is not.
        """

    async def trigger(self, endpoint: str) -> OperationResult:
        """Ask a registered device to come and bootstrap now (Execute 1/x/9); raises UsageError as
        `Fleet.perform`."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What the web side stands on, as `app.py` joins it."""

    reader: Reader
    fleet: Fleet
    credentials: Credentials
    certificates: Certificates
    bootstrap: Bootstrap
    bus: EventBus
    models: ModelSet


@dataclass(frozen=True, slots=True)
class PlainCoap:
    """Where the box takes unencrypted CoAP from beyond itself: its UDP port, the networks let in."""

    port: int
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """What every handler may use.

    `coap_uris` are the addresses a device can be pointed at; `now_ms` is the wall clock, ms since 1970;
    `plain` is None where unencrypted CoAP is off, or for this machine alone.
    """

    reader: Reader
    fleet: Fleet
    credentials: Credentials
    certificates: Certificates
    bootstrap: Bootstrap
    models: ModelSet
    hub: Hub
    assets: Assets
    coap_uris: tuple[str, ...]
    now_ms: Callable[[], int]
    plain: PlainCoap | None = None


PARTS: Final = web.AppKey("parts", Parts)
