"""The house's credentials, certificates and bootstrap for the web side's tests, on a fixed day.

Shared by tests/unit/http and tests/browser. Credentials are decided in memory and kept in the real database,
where the web side reads them; the authority is the real one, on a folder of the test's own.
"""

import asyncio
import hashlib
import sqlite3
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path as FilePath

from flownexus_appliance.db.credentials import (
    Credential,
    CredentialOrigin,
    CredentialState,
    Proof,
    ProofKind,
    put_credential,
)
from flownexus_appliance.db.operations import EndpointOperation
from flownexus_appliance.db.reads import Reader
from flownexus_appliance.db.writer import Batch
from flownexus_appliance.errors import ApplianceError, UsageError
from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet.keys import check_key
from flownexus_appliance.http.ports import Sources
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig
from flownexus_appliance.lwm2m.model import ModelSet
from flownexus_appliance.lwm2m.operations import Kind, Operation
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.requests import check_endpoint
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.describe import CertificateStatus
from flownexus_appliance.pki.devices import VALIDITY, DeviceCertificate
from flownexus_appliance.pki.errors import PkiError
from flownexus_appliance.pki.names import ServerNames
from flownexus_appliance.pki.roots import OVERLAP
from flownexus_appliance.pki.upkeep import Change
from flownexus_appliance.system.settings import Settings

from .firmware_box import FakeFirmwareBox
from .house import NOW_MS, FakeFleet, FakeModels, FakeOperations, Outcome
from .people import FakeAccess


@dataclass(frozen=True, slots=True)
class FakeWindow:
    identity: bytes
    key: bytes = field(repr=False)
    ends_ms: int


@dataclass(slots=True)
class FakeCredentials:
    """Keeps good credentials in a list, and all in the database; keys count up, so that a test knows them."""

    database: FilePath
    known: list[Credential] = field(default_factory=list)
    window: FakeWindow | None = None
    failure: ApplianceError | None = None
    made: int = 0
    count: int = 0
    now_ms: int = NOW_MS

    def of(self, endpoint: str) -> Sequence[Credential]:
        return [one for one in self.known if one.endpoint == endpoint]

    def all(self) -> Sequence[Credential]:
        return list(self.known)

    def get(self, credential_id: int) -> Credential:
        found = next((one for one in self.known if one.id == credential_id), None)
        if found is None:
            raise UsageError("credential_unknown", f"there is no credential {credential_id}", "see the list")
        return found

    async def add_psk(
        self, endpoint: str, identity: bytes | None = None, key: bytes | None = None, *, label: str = ""
    ) -> Credential:
        proof = Proof(ProofKind.PSK, endpoint.encode() if identity is None else identity)
        return self.add(endpoint, proof, secret=self._key() if key is None else key, label=label)

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
        assert hashlib.sha256(certificate).digest() == fingerprint
        proof = Proof(ProofKind.CERTIFICATE, fingerprint)
        ends = (serial, not_after_ms)
        return self.add(endpoint, proof, state, certificate=certificate, ends=ends, label=label)

    async def replace_psk(
        self, endpoint: str, identity: bytes, key: bytes, ending: Collection[int], *, label: str = ""
    ) -> Credential:
        if self.failure is not None:
            raise self.failure
        check_endpoint(endpoint, UsageError)
        check_key(key)
        for one in [one for one in self.of(endpoint) if one.id in ending]:
            await self.remove(one.id)
        return self.add(endpoint, Proof(ProofKind.PSK, identity), secret=key, label=label)

    async def renew_psk(self, endpoint: str) -> Credential:
        offered = CredentialState.OFFERED
        for one in self.of(endpoint):
            if (one.kind, one.state) == (ProofKind.PSK, offered):
                return one
        proof = Proof(ProofKind.PSK, f"{endpoint}-next".encode())
        return self.add(endpoint, proof, offered, CredentialOrigin.BOOTSTRAP, secret=self._key())

    async def remove(self, credential_id: int) -> None:
        found = self.get(credential_id)
        self.known.remove(found)
        self._keep(replace(found, state=CredentialState.REVOKED, ended_ms=self.now_ms))

    async def remove_endpoint(self, endpoint: str) -> int:
        found = self.of(endpoint)
        for one in found:
            await self.remove(one.id)
        return len(found)

    def open_enrolment(self, duration_s: float = 600.0) -> FakeWindow:
        self.window = FakeWindow(b"enrol", self._key(), self.now_ms + int(duration_s * 1000))
        return self.window

    def close_enrolment(self) -> None:
        self.window = None

    def enrolment(self) -> FakeWindow | None:
        return self.window

    def add(
        self,
        endpoint: str,
        proof: Proof,
        state: CredentialState = CredentialState.ACTIVE,
        origin: CredentialOrigin = CredentialOrigin.OPERATOR,
        *,
        secret: bytes = b"",
        certificate: bytes = b"",
        ends: tuple[int, int] = (0, 0),
        label: str = "",
    ) -> Credential:
        """Add one as it is; `ends` is the serial number and the end of a certificate."""
        if self.failure is not None:
            raise self.failure
        if any(one.proof == proof for one in self.known):
            raise UsageError("identity_taken", "another device has this identity", "choose another one")
        self.count += 1
        added = Credential(
            self.count, endpoint, proof, state, origin, self.now_ms, secret, certificate, *ends, label=label
        )
        self.known.append(added)
        self._keep(added)
        return added

    def use(self, credential_id: int, used_ms: int) -> None:
        """A device comes in by one: known in memory, on disk later."""
        found = self.get(credential_id)
        used = replace(found, state=CredentialState.ACTIVE, first_used_ms=used_ms, last_used_ms=used_ms)
        self.known[self.known.index(found)] = used

    def _keep(self, credential: Credential) -> None:
        """Keep it, and list its device as the store does: while it has one, though it was never seen."""
        batch = Batch(asyncio.get_running_loop().create_future())
        put_credential(batch, credential)
        listing = "INSERT OR IGNORE INTO endpoint (name, first_seen_ms, last_seen_ms) VALUES (?, 0, 0)"
        if not self.of(credential.endpoint):
            listing = "DELETE FROM endpoint WHERE name = ? AND first_seen_ms = 0"
        with closing(sqlite3.connect(self.database)) as connection, connection:
            for sql, parameters in batch.statements:
                connection.execute(sql, parameters)
            connection.execute(listing, (credential.endpoint,))

    def _key(self) -> bytes:
        self.made += 1
        return bytes([0xA0 + self.made]) * 16


class FakeCertificates:
    """The real authority at the tests' moment, made at its first use; `doubtful`: what is wrong with the
    clock."""

    def __init__(self, folder: FilePath) -> None:
        self.doubtful = ""
        self.now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
        self.names = ServerNames.of("box")
        self._folder = folder

    @cached_property
    def authority(self) -> Authority:
        authority = Authority(self._folder)
        authority.load()
        authority.ensure(self.names, self.now)
        return authority

    def doubt(self) -> str:
        return self.doubtful

    def describe(self) -> Sequence[CertificateStatus]:
        return self.authority.describe(self.now)

    def roots(self) -> Sequence[bytes]:
        return self.authority.roots()

    def certify(self, endpoint: str, request: bytes | None, valid_days: int | None) -> DeviceCertificate:
        self._check()
        valid = VALIDITY if valid_days is None else timedelta(days=valid_days)
        if request is None:
            return self.authority.issue(endpoint, self.now, valid)
        return self.authority.issue_for(endpoint, request, self.now, valid)

    async def rotate(self) -> Sequence[Change]:
        self._check()
        return self.authority.rotate_now(self.now, self.names)

    async def roll_over(self, overlap_days: int | None) -> Sequence[Change]:
        self._check()
        overlap = OVERLAP if overlap_days is None else timedelta(days=overlap_days)
        return self.authority.roll_over(self.now, overlap)

    async def finish_roll_over(self) -> Sequence[Change]:
        self._check()
        return self.authority.finish_roll_over(self.now)

    def _check(self) -> None:
        if self.doubtful:
            raise PkiError("clock_untrusted", self.doubtful, "set the clock")


@dataclass(slots=True)
class FakeBootstrap:
    """Configurations in a dict; notes whom it was to ask."""

    kept: dict[str, BootstrapConfig] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    outcome: Outcome | ApplianceError = field(default_factory=Outcome)

    def config(self, endpoint: str) -> BootstrapConfig | None:
        return self.kept.get(endpoint, None if endpoint else BootstrapConfig())

    def configs(self) -> Mapping[str, BootstrapConfig]:
        return dict(self.kept)

    async def put_config(self, endpoint: str, config: BootstrapConfig | None) -> None:
        if config is None:
            self.kept.pop(endpoint, None)
        else:
            self.kept[endpoint] = config

    async def trigger(self, endpoint: str) -> EndpointOperation:
        self.asked.append(endpoint)
        if isinstance(self.outcome, ApplianceError):
            raise self.outcome
        return self.outcome.operation(endpoint, Operation(Kind.EXECUTE, (Path.of(1, 0, 9),)))


def make_sources(
    reader: Reader, fleet: FakeFleet, bus: EventBus, models: ModelSet, folder: FilePath
) -> Sources:
    """The whole house around a reader of `folder`/flownexus.db; the authority's files go below it too."""
    database = folder / "flownexus.db"
    uploads = FakeModels(models)
    fleet.models, fleet.database = uploads.set, database
    return Sources(
        reader=reader,
        access=FakeAccess(),
        fleet=fleet,
        operations=FakeOperations(database, fleet),
        credentials=FakeCredentials(database),
        certificates=FakeCertificates(folder / "pki"),
        bootstrap=FakeBootstrap(),
        firmware=FakeFirmwareBox(database, fleet, bus),
        bus=bus,
        models=uploads,
        settings=Settings(None, folder / "settings.toml"),
    )
