"""What the web side needs from the rest of the house, as types; and what its own parts share.

`Fleet` and its kin are met by `fleet/` and `app.py`, without either importing the other's classes for it.
All of them are called in the event loop.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Protocol

from aiohttp import web

from ..db.credentials import Credential, CredentialState, Proof
from ..db.operations import EndpointOperation
from ..db.reads import Reader
from ..events import EventBus
from ..fleet.ports import Traced
from ..lwm2m.bootstrap_config import BootstrapConfig
from ..lwm2m.model import ModelSet, ObjectDefinition
from ..lwm2m.operations import Operation
from ..lwm2m.paths import Path
from ..lwm2m.registration import Registration
from ..lwm2m.values import DataType, Record
from ..pki.describe import CertificateStatus
from ..system.health import Health
from .ports_box import Access, Settings
from .ports_firmware import FirmwareBox
from .static import Assets
from .stream import Hub


class Reporting(Protocol):
    """One observation: its paths, whether the device reports it now, who wants it.

    `asked_by` is "watch list" or a person; `state` is active, waiting (for the next registration or for its
    turn), refused (by the device), or off (somebody ended it, and the watch list names it).
    """

    @property
    def paths(self) -> tuple[Path, ...]: ...
    @property
    def composite(self) -> bool: ...
    @property
    def state(self) -> str: ...
    @property
    def asked_by(self) -> str: ...
    @property
    def since_ms(self) -> int: ...


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

    def registration(self, endpoint: str) -> Registration | None:
        """The live registration, None where there is none."""

    def registrations(self) -> Sequence[Registration]:
        """All live ones, by endpoint."""

    def type_of(self, endpoint: str, path: Path) -> DataType | None:
        """The data type at a path of three or four numbers, by the version of its object that the device
        registered; None where no model knows it."""

    def reporting(self, endpoint: str) -> Sequence[Reporting]:
        """What the device is wanted to report, and whether it does, by path."""

    def attributes(self, endpoint: str) -> Mapping[Path, Mapping[str, str]]:
        """What was set by Write-Attributes, and is written back after each registration."""

    async def configure(
        self,
        endpoint: str,
        *,
        label: str | None = None,
        notes: str | None = None,
        tags: Sequence[str] | None = None,
        awake_window_s: float | None = None,
    ) -> None:
        """Set what is given; a window of 0 is "as configured". Done when it is on disk.

        Tags are in place of all before; those that other devices have are spelled as there.
        UsageError: endpoint_unknown, label_invalid, notes_invalid, tag_invalid, tag_limit,
        awake_window_invalid; StoreError.
        """

    async def ingest(self, endpoint: str, records: Sequence[Record]) -> None:
        """Keep values that came by another way than CoAP, of a device that may be new; done when on disk.

        UsageError: endpoint_missing, endpoint_invalid; StoreError.
        """


class Operations(Protocol):
    """Operations on devices: rows first, then requests."""

    async def ask(
        self,
        endpoint: str,
        operation: Operation,
        by: str,
        *,
        deadline_ms: int = 0,
        checked: bool = True,
    ) -> EndpointOperation:
        """Take an operation up; it is on disk when this returns.

        `checked` False leaves it to the device whether it has what is asked for and what may be done to it.
        UsageError: those of `lwm2m.operations.check` and `check_model`, endpoint_unknown, endpoint_unseen,
        deadline_past, queue_full; StoreError.
        """

    async def finished(self, operation_id: int, timeout_s: float) -> EndpointOperation:
        """The operation when it is done, or as it stands after so many seconds; values in full.

        Raises UsageError("operation_missing") for one that is not, and was not a moment ago, under way.
        """

    async def cancel(self, operation_id: int) -> EndpointOperation:
        """End one that is not done; what is under way is broken off.

        UsageError: operation_missing, operation_done; StoreError.
        """

    async def retry(self, operation_id: int, by: str) -> EndpointOperation:
        """Ask anew for one that is done: a new operation. UsageError as `ask`, operation_missing,
        operation_unfinished."""

    def waiting(self, endpoint: str) -> int:
        """How many are not done."""

    def counts(self) -> Mapping[str, int]:
        """How many are QUEUED and SENDING now."""


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

    async def replace_psk(
        self, endpoint: str, identity: bytes, key: bytes, ending: Collection[int], *, label: str = ""
    ) -> Credential:
        """Let a key in, in the place of credentials of the endpoint that it names by their ids, in one step.

        Their sessions end, and the registration that rests on them. UsageError as `add_psk`.
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

    async def trigger(self, endpoint: str) -> EndpointOperation:
        """Ask a device that listens to come and bootstrap now (Execute 1/x/9): the operation when it is done.

        UsageError: endpoint_unknown, endpoint_offline, endpoint_asleep, bootstrap_unsupported."""


class UploadedModel(Protocol):
    """An object definition that an operator gave: where it came from, the file's name in the folder."""

    @property
    def definition(self) -> ObjectDefinition: ...
    @property
    def file(self) -> str: ...


class Models(Protocol):
    """The object models: those of the registry, and over them those of the folder `models` of the state."""

    @property
    def set(self) -> ModelSet:
        """As they are now; the same object for as long as the house stands, so it may be kept."""

    def uploaded(self) -> Sequence[UploadedModel]:
        """Those of the folder, by object id and version."""

    async def add(self, data: bytes) -> Sequence[UploadedModel]:
        """Take up a DDF file: in use and on disk when this returns; in place of the same versions.

        UsageError("ddf_invalid"), ApplianceError("models_unwritable").
        """

    async def remove(self, object_id: int, version: str) -> None:
        """Take an uploaded definition away.

        UsageError("model_unknown"), ApplianceError("models_unwritable").
        """


class Tracer(Protocol):
    """The wire to devices: `trace` is told of every CoAP message, None costs nothing."""

    trace: Callable[[Traced], None] | None


@dataclass(frozen=True, slots=True)
class Sources:
    """What the web side stands on, as `app.py` joins it."""

    reader: Reader
    access: Access
    fleet: Fleet
    operations: Operations
    credentials: Credentials
    certificates: Certificates
    bootstrap: Bootstrap
    firmware: FirmwareBox
    bus: EventBus
    models: Models
    settings: Settings
    tracer: Tracer | None = None
    health: Health = field(default_factory=Health)


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
    access: Access
    fleet: Fleet
    operations: Operations
    credentials: Credentials
    certificates: Certificates
    bootstrap: Bootstrap
    firmware: FirmwareBox
    bus: EventBus
    models: ModelSet
    uploads: Models
    settings: Settings
    hub: Hub
    assets: Assets
    coap_uris: tuple[str, ...]
    now_ms: Callable[[], int]
    plain: PlainCoap | None = None
    tracer: Tracer | None = None
    health: Health = field(default_factory=Health)


PARTS: Final = web.AppKey("parts", Parts)
