"""Certificates that no daemon would give: of another CA, or given long ago and over by now."""

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from flownexus_appliance.db.store import Store
from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet.credentials import Consequences, Credentials
from flownexus_appliance.fleet.telemetry import describe
from flownexus_appliance.lwm2m.registry import load_registry
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.devices import DeviceCertificate, make_certificate
from flownexus_appliance.pki.encoding import pem_of_certificates, pem_of_key
from flownexus_appliance.pki.keystore import Keystore
from flownexus_appliance.pki.names import ServerNames
from flownexus_appliance.system import clock

from .daemon import Certificate

NAMES = ServerNames.of("localhost")
DATABASE, PKI = "flownexus.db", "pki"


def foreign(folder: Path, endpoint: str, roots: Path) -> Certificate:
    """A certificate for an endpoint by another CA; `roots` are the box's, so that its server is trusted."""
    other = Authority(folder / "foreign")
    other.ensure(NAMES, datetime.now(UTC))
    return _files(folder, other.issue(endpoint, datetime.now(UTC)), endpoint, roots.read_text())


def provision(state: Path, folder: Path, endpoint: str, since_days: int, valid_days: int) -> Certificate:
    """A certificate of so many days, made so many days ago: by the box's own root, and in its list.

    For a state folder that no daemon runs on.
    """
    now = datetime.now(UTC)
    authority = Authority(state / PKI)
    authority.ensure(NAMES, now)
    made = make_certificate(
        endpoint, Keystore(state / PKI).read().roots, now - timedelta(since_days), timedelta(valid_days)
    )
    asyncio.run(_let_in(state, endpoint, made))
    return _files(folder, made, endpoint, pem_of_certificates(*authority.roots()))


async def _let_in(state: Path, endpoint: str, made: DeviceCertificate) -> None:
    store = Store(state / DATABASE, partial(describe, load_registry()))
    kept = await store.start()
    try:
        credentials = Credentials(store, EventBus(), clock.now)
        credentials.consequences = Consequences(
            guarded=lambda endpoint: None,
            carries=lambda endpoint, proof: False,
            ended=lambda endpoint: None,
            forgotten=lambda endpoint: None,
        )
        credentials.start(kept.credentials)
        not_after_ms = int(made.not_after.timestamp() * 1000)
        await credentials.add_certificate(
            endpoint, made.certificate, made.fingerprint, made.serial, not_after_ms
        )
    finally:
        await store.stop()


def _files(folder: Path, made: DeviceCertificate, endpoint: str, roots: str) -> Certificate:
    return Certificate.into(
        folder, endpoint, pem_of_certificates(made.certificate), pem_of_key(made.key), roots
    )
