"""What an earlier run of the daemon left in the file, read at the start.

The registrations, observations, credentials and DTLS sessions are for those who work with them; the
catalog of ids is for the store.
"""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field

from ..lwm2m.observation import Observation
from ..lwm2m.paths import Path
from ..lwm2m.registration import RegisteredObject, Registration
from ..lwm2m.values import DataType
from .credentials import Credential, load_credentials
from .firmware import KeptFirmware
from .firmware_rows import load_firmware, load_next_ids
from .noted import load_tags
from .operations import (
    EndpointOperation,
    WantedAttributes,
    WantedObservation,
    load_unfinished,
    load_wanted,
    paths_from_json,
)
from .people import People, load_people
from .sessions import SavedSession, load_sessions


@dataclass(slots=True)
class Series:
    """A series' id, how the device speaks it, and where its newest value of our stamping stands.

    For `upkeep`: samples before `rolled_ms` are rolled up, `fresh` samples came since (1 where that is not
    known), rolling up was tried until `tried_ms`, and none before `thinned_ms` has to go.
    """

    id: int
    data_type: DataType
    received_ms: int = 0
    rolled_ms: int = 0
    fresh: int = 0
    tried_ms: int = 0
    thinned_ms: int = 0


@dataclass(slots=True)
class Catalog:
    """The ids that are in the file, and the next free ones.

    `unseen` are the endpoints that have a credential and were never heard; `tags` are by endpoint id.
    `late_hours` are the hours (series, hour since 1970) that were noted to have got samples after they were
    rolled up; `late_left`: there may be more of them in the file. `packages` has hash and version of all
    firmware by its id. `campaign_ended`: since room was last made for campaigns, or that is not known.
    """

    endpoints: dict[str, int] = field(default_factory=dict)
    types: dict[tuple[int, int], int] = field(default_factory=dict)
    series: dict[int, dict[Path, Series]] = field(default_factory=dict)
    unseen: set[str] = field(default_factory=set)
    tags: dict[int, tuple[str, ...]] = field(default_factory=dict)
    late_hours: set[tuple[int, int]] = field(default_factory=set)
    late_left: bool = False
    next_endpoint: int = 1
    next_type: int = 1
    next_series: int = 1
    next_credential: int = 1
    next_operation: int = 1
    packages: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    next_firmware: int = 1
    next_update: int = 1
    next_campaign: int = 1
    campaign_ended: bool = True


@dataclass(frozen=True, slots=True)
class Kept:
    """What an earlier run left: the core's memory to be restored.

    A registration's `expires_at` holds its expiry in ms since 1970 here, for the caller to
    translate into its own monotonic time. `heard_ms` has every endpoint, 0 for those never seen.
    `credentials` are the good ones, oldest first; `sessions` those of DTLS, the one used last at the
    end; `bootstrap_configs` JSON by endpoint, "" for the default. `operations` are those that are not done,
    in the order of their asking; `awake_windows_s` those set for an endpoint of its own.
    """

    registrations: tuple[Registration, ...]
    observations: tuple[Observation, ...]
    heard_ms: Mapping[str, int]
    credentials: tuple[Credential, ...] = ()
    sessions: tuple[SavedSession, ...] = ()
    bootstrap_configs: Mapping[str, str] = field(default_factory=dict)
    operations: tuple[EndpointOperation, ...] = ()
    wanted_observations: tuple[WantedObservation, ...] = ()
    wanted_attributes: tuple[WantedAttributes, ...] = ()
    awake_windows_s: Mapping[str, float] = field(default_factory=dict)
    people: People = field(default=People())
    firmware: KeptFirmware = field(default=KeptFirmware())


def load_catalog(connection: sqlite3.Connection) -> Catalog:
    """What ids there are; raises sqlite3.Error, and ValueError for what nobody can have written."""
    catalog = Catalog(tags=load_tags(connection))
    for number, name, first_seen_ms in connection.execute("SELECT id, name, first_seen_ms FROM endpoint"):
        catalog.endpoints[name] = number
        if not first_seen_ms:
            catalog.unseen.add(name)
        catalog.next_endpoint = max(catalog.next_endpoint, number + 1)
    for number, *key in connection.execute("SELECT id, object_id, resource_id FROM resource_type"):
        catalog.types[key[0], key[1]] = number
        catalog.next_type = max(catalog.next_type, number + 1)
    catalog.late_left = connection.execute("SELECT 1 FROM rollup_late LIMIT 1").fetchone() is not None
    for number, endpoint_id, path, data_type, rolled_ms, kept_ms in connection.execute(
        "SELECT id, endpoint_id, path, data_type, rolled_ms, kept_ms FROM series"
    ):
        entry = Series(number, DataType(data_type), rolled_ms=rolled_ms, fresh=1, thinned_ms=kept_ms)
        catalog.series.setdefault(endpoint_id, {})[Path.parse(path)] = entry
        catalog.next_series = max(catalog.next_series, number + 1)
    (last,) = connection.execute("SELECT max(id) FROM credential").fetchone()
    catalog.next_credential = (last or 0) + 1
    (last,) = connection.execute("SELECT max(id) FROM endpoint_operation").fetchone()
    catalog.next_operation = (last or 0) + 1
    for number, sha256, version in connection.execute("SELECT id, sha256, version FROM firmware"):
        catalog.packages[number] = (sha256, version)
    catalog.next_firmware, catalog.next_update, catalog.next_campaign = load_next_ids(connection)
    return catalog


def load_kept(connection: sqlite3.Connection) -> Kept:
    """Everything at once; raises as `load_catalog`."""
    with closing(connection.cursor()) as cursor:
        cursor.row_factory = sqlite3.Row
        registrations = tuple(
            _registration(row)
            for row in cursor.execute(
                "SELECT registration.*, endpoint.name FROM registration"
                " JOIN endpoint ON endpoint.id = registration.endpoint_id"
                # As they were written: of two at one address the one that spoke last has it.
                " ORDER BY registration.rowid"
            )
        )
        observations = tuple(
            _observation(row)
            for row in cursor.execute(
                "SELECT observation.*, endpoint.name FROM observation"
                " JOIN endpoint ON endpoint.id = observation.endpoint_id"
            )
        )
        heard = dict(connection.execute("SELECT name, last_seen_ms FROM endpoint").fetchall())
        windows = dict(
            connection.execute(
                "SELECT name, awake_window_s FROM endpoint WHERE awake_window_s IS NOT NULL"
            ).fetchall()
        )
        operations = load_unfinished(cursor)
        wanted_observations, wanted_attributes = load_wanted(cursor)
        firmware = load_firmware(cursor)
    return Kept(
        registrations,
        observations,
        heard,
        load_credentials(connection),
        load_sessions(connection),
        dict(connection.execute("SELECT endpoint, config FROM bootstrap_config").fetchall()),
        operations,
        wanted_observations,
        wanted_attributes,
        windows,
        load_people(connection),
        firmware,
    )


def _registration(row: sqlite3.Row) -> Registration:
    return Registration(
        id=row["id"],
        endpoint=row["name"],
        address=row["address"],
        lwm2m_version=row["lwm2m_version"],
        lifetime_s=row["lifetime_s"],
        binding=row["binding"],
        queue_mode=bool(row["queue_mode"]),
        root_path=row["root_path"],
        objects=objects_from_json(row["objects"]),
        content_formats=tuple(json.loads(row["content_formats"])),
        message_id=row["message_id"],
        token=row["token"],
        registered_ms=row["registered_ms"],
        updated_ms=row["updated_ms"],
        expires_at=float(row["expires_ms"]),
        attributes=json.loads(row["attributes"]),
        session=row["session"],
    )


def _observation(row: sqlite3.Row) -> Observation:
    return Observation(
        token=row["token"],
        endpoint=row["name"],
        paths=paths_from_json(row["paths"]),
        content_format=row["content_format"],
        created_ms=row["created_ms"],
        composite=bool(row["composite"]),
    )


def objects_to_json(objects: Mapping[int, RegisteredObject]) -> str:
    """A registration's objects as the file keeps them; `objects_from_json` is its inverse."""
    return json.dumps(
        {str(n): {"version": o.version, "instances": list(o.instances)} for n, o in objects.items()}
    )


def objects_from_json(text: str) -> dict[int, RegisteredObject]:
    return {
        int(n): RegisteredObject(o["version"], tuple(o["instances"])) for n, o in json.loads(text).items()
    }
