"""What the fleet writes: endpoints, registrations, observations, samples, credentials, firmware.

It is also where DTLS sessions are kept (`fleet.ports.SessionKeeper`).

Methods gather rows into the writer's batch and return at once; `commit()` gives the future that is
done when they are on disk. Rows refer to each other by ids that are given out here, from memory, so
nothing waits for the disk to learn an id.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path as FilePath
from typing import Final

from ..errors import ApplianceError, PeerError, UsageError
from ..lwm2m.observation import Observation
from ..lwm2m.paths import Path
from ..lwm2m.registration import Registration
from ..lwm2m.values import INT64_MAX, INT64_MIN, DataType, ObjectLink, Record, Value
from .credentials import Credential, Proof, put_credential, put_credential_uses
from .firmware import Campaign, Firmware, FirmwareUpdate, UpdateStep
from .firmware_rows import (
    change_campaign,
    change_firmware,
    change_update,
    put_campaign,
    put_firmware,
    put_step,
    put_update,
    put_update_bytes,
    remove_firmware,
)
from .kept import Catalog, Kept, Series, load_catalog, load_kept, objects_to_json
from .migrate import open_database, unreadable
from .noted import put_notes, put_tags, same_tag, spelled
from .operations import (
    Attempt,
    EndpointOperation,
    WantedAttributes,
    WantedObservation,
    change_operation,
    paths_to_json,
    put_attempt,
    put_operation,
    put_wanted_attributes,
    put_wanted_observation,
    remove_wanted_observation,
)
from .rollups import HOUR_MS
from .sessions import SavedSession, put_session, put_session_counters, remove_session, session_name
from .writer import MAX_BESIDE, Batch, SqlValue, Writer

# A series that is further ahead of the clock did not get there value by value: the clock was put
# back, and new values belong where it stands now.
CLOCK_STEP_MS: Final = 60_000


# `none` is a type that no model and no value told yet: what stood there before is better.
_DESCRIBE: Final = """
    UPDATE resource_type SET name = ?2, data_type = iif(?3 = 'none', data_type, ?3), units = ?4
    WHERE id = ?1 AND (name <> ?2 OR units <> ?4 OR (?3 <> 'none' AND data_type <> ?3))
"""

_LATE: Final = "INSERT OR IGNORE INTO rollup_late (series_id, hour) VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class ResourceType:
    """What a resource is called, holds and counts in; `units` is "" where it has none."""

    name: str
    data_type: DataType
    units: str


class Store:
    """The writing side of the database; one instance, in the event loop."""

    def __init__(self, path: FilePath, describe: Callable[[Path, DataType], ResourceType]) -> None:
        self.path = path
        self._describe = describe
        self._catalog = Catalog()
        self._proofs: dict[str, Proof] = {}
        self._writer: Writer | None = None

    async def start(self) -> Kept:
        """Open and migrate the file; raises StoreError. Returns what it holds of earlier runs."""
        connection, self._catalog, kept = await asyncio.to_thread(_open, self.path)
        self._proofs = {saved.name: saved.proof for saved in kept.sessions}
        self._writer = Writer(connection, load_catalog, self._learn)
        self._writer.start()
        self.describe_again()  # models may have come, changed or gone since the last run
        return kept

    async def stop(self) -> None:
        if self._writer is not None:
            await self._writer.stop()
            self._writer = None

    @property
    def catalog(self) -> Catalog:
        """What is in the file; another object after a failed commit."""
        return self._catalog

    @property
    def writer(self) -> Writer:
        assert self._writer is not None, "the store is not started"
        return self._writer

    def commit(self) -> asyncio.Future[None]:
        """See `Writer.commit`."""
        return self.writer.commit()

    def put_registration(self, registration: Registration) -> None:
        batch = self.writer.gather()
        endpoint_id = self._endpoint(batch, registration.endpoint, registration.registered_ms)
        batch.statements.append(
            (
                "INSERT OR REPLACE INTO registration (id, endpoint_id, address, lwm2m_version,"
                " lifetime_s, binding, queue_mode, root_path, objects, content_formats, attributes,"
                " message_id, token, registered_ms, updated_ms, expires_ms, session)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    registration.id,
                    endpoint_id,
                    registration.address,
                    registration.lwm2m_version,
                    registration.lifetime_s,
                    registration.binding,
                    int(registration.queue_mode),
                    registration.root_path,
                    objects_to_json(registration.objects),
                    json.dumps(registration.content_formats),
                    json.dumps(dict(registration.attributes)),
                    registration.message_id,
                    registration.token,
                    registration.registered_ms,
                    registration.updated_ms,
                    registration.expires_ms,
                    registration.session,
                ),
            )
        )
        self.put_heard({registration.endpoint: registration.updated_ms})

    def remove_registration(self, registration: Registration) -> None:
        self.writer.gather().statements.append(("DELETE FROM registration WHERE id = ?", (registration.id,)))

    def put_heard(self, heard_ms: Mapping[str, int]) -> None:
        """Note when endpoints were last heard; names not in the file are passed over."""
        batch = self.writer.gather()
        for endpoint, moment in heard_ms.items():
            if endpoint in self._catalog.endpoints:
                endpoint_id = self._endpoint(batch, endpoint, moment)
                batch.statements.append(
                    ("UPDATE endpoint SET last_seen_ms = ? WHERE id = ?", (moment, endpoint_id))
                )

    def put_observation(self, observation: Observation) -> None:
        batch = self.writer.gather()
        endpoint_id = self._endpoint(batch, observation.endpoint, observation.created_ms)
        batch.statements.append(
            (
                "INSERT OR REPLACE INTO observation"
                " (token, endpoint_id, paths, content_format, created_ms, composite)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                (
                    observation.token,
                    endpoint_id,
                    paths_to_json(observation.paths),
                    observation.content_format,
                    observation.created_ms,
                    int(observation.composite),
                ),
            )
        )

    def remove_observation(self, token: bytes) -> None:
        self.writer.gather().statements.append(("DELETE FROM observation WHERE token = ?", (token,)))

    def add_samples(self, endpoint: str, records: Sequence[Record], received_ms: int) -> None:
        """Add one sample a record, at the device's own time where it told one.

        `received_ms` stamps the others; two values of one series never share a moment, a later one
        of the same message moves on by a millisecond.
        """
        batch = self.writer.gather()
        endpoint_id = self._endpoint(batch, endpoint, received_ms)
        known = self._catalog.series.setdefault(endpoint_id, {})
        taken: dict[tuple[int, int], int] = {}
        for record in records:
            series = known.get(record.path)
            if series is None:
                series = known[record.path] = self._new_series(batch, endpoint_id, record)
            elif series.data_type is not record.data_type:
                self._retype(batch, series, record.data_type)
            if record.time_ms is None:
                lead_ms = series.received_ms - received_ms
                time_ms = received_ms + lead_ms + 1 if 0 <= lead_ms < CLOCK_STEP_MS else received_ms
                series.received_ms = time_ms
            else:
                time_ms = _take_moment(taken, series.id, record.time_ms)
            series.fresh += 1
            if 0 <= time_ms < series.rolled_ms:
                self._note_late(batch, series.id, time_ms)
            batch.samples.append((series.id, time_ms, to_sql(record.value)))

    def describe_again(self) -> asyncio.Future[None]:
        """Have what the resources in the file are called follow the models; done when it is on disk."""
        batch = self.writer.gather()
        for (object_id, resource_id), number in self._catalog.types.items():
            known = self._describe(Path.of(object_id, 0, resource_id), DataType.NONE)
            parameters = (number, known.name, known.data_type.value, known.units)
            batch.statements.append((_DESCRIBE, parameters))
        return self.commit()

    def put_endpoint(self, endpoint: str, seen_ms: int) -> None:
        """List an endpoint that was heard of by another way than a registration."""
        self._endpoint(self.writer.gather(), endpoint, seen_ms)

    def put_label(self, endpoint: str, label: str) -> None:
        """What the owner calls an endpoint."""
        self.writer.gather().statements.append(
            ("UPDATE endpoint SET label = ? WHERE name = ?", (label, endpoint))
        )

    def put_notes(self, endpoint: str, notes: str) -> None:
        """What people wrote down about an endpoint that is listed."""
        put_notes(self.writer.gather(), self._catalog.endpoints[endpoint], notes)

    def put_tags(self, endpoint: str, tags: Sequence[str]) -> None:
        """Give a listed endpoint these tags in place of all before, spelled as others that have them do."""
        batch = self.writer.gather()
        endpoint_id = self._catalog.endpoints[endpoint]
        kept = self._catalog.tags[endpoint_id] = spelled(tags, self._catalog.tags, endpoint_id)
        put_tags(batch, endpoint_id, kept)

    def has_tag(self, endpoint: str, tag: str) -> bool:
        """Whether an endpoint has a tag, however it is spelled."""
        tags = self._catalog.tags.get(self._catalog.endpoints.get(endpoint, 0), ())
        return same_tag(tag) in map(same_tag, tags)

    def put_awake_window(self, endpoint: str, window_s: float | None) -> None:
        """How long an endpoint listens after it was heard; None: as configured."""
        self.writer.gather().statements.append(
            ("UPDATE endpoint SET awake_window_s = ? WHERE name = ?", (window_s, endpoint))
        )

    # What is asked of devices, and wanted of them

    def knows(self, endpoint: str) -> bool:
        """Whether an endpoint is listed, seen or not."""
        return endpoint in self._catalog.endpoints

    def new_operation_id(self) -> int:
        """An id that no operation has; ids rise with the time of the asking."""
        number = self._catalog.next_operation
        self._catalog.next_operation += 1
        return number

    def put_operation(self, kept: EndpointOperation) -> None:
        """Keep a new operation of an endpoint that is listed."""
        batch = self.writer.gather()
        put_operation(batch, self._endpoint(batch, kept.endpoint, 0), kept)

    def change_operation(self, kept: EndpointOperation, attempt: Attempt | None = None) -> None:
        """Keep what became of an operation, and of its attempt."""
        batch = self.writer.gather()
        change_operation(batch, kept)
        if attempt is not None:
            put_attempt(batch, attempt)

    def put_wanted_observation(self, wanted: WantedObservation) -> None:
        batch = self.writer.gather()
        put_wanted_observation(batch, self._endpoint(batch, wanted.endpoint, 0), wanted)

    def remove_wanted_observation(self, endpoint: str, paths: Sequence[Path]) -> None:
        batch = self.writer.gather()
        remove_wanted_observation(batch, self._endpoint(batch, endpoint, 0), paths)

    def put_wanted_attributes(self, wanted: WantedAttributes) -> None:
        """Keep what is set at a path; nothing set, nothing kept."""
        batch = self.writer.gather()
        put_wanted_attributes(batch, self._endpoint(batch, wanted.endpoint, 0), wanted)

    # Firmware

    def new_firmware_id(self) -> int:
        """An id that no firmware has or had."""
        number = self._catalog.next_firmware
        self._catalog.next_firmware += 1
        return number

    def put_firmware(self, firmware: Firmware) -> None:
        """Keep a new firmware. UsageError("firmware_known"): the package is there as the same version."""
        batch = self.writer.gather()
        self._know_package(firmware)
        put_firmware(batch, firmware)

    def change_firmware(self, firmware: Firmware) -> None:
        """Keep what is said of a firmware now; the package, its name and who added it stay. UsageError as
        `put_firmware`."""
        batch = self.writer.gather()
        if firmware.id in self._catalog.packages:
            self._know_package(firmware)
            change_firmware(batch, firmware)

    def remove_firmware(self, firmware_id: int) -> None:
        """Forget a firmware with its ended updates and campaigns; the caller has seen to it that all have
        ended."""
        batch = self.writer.gather()
        catalog = self._catalog
        catalog.packages.pop(firmware_id, None)
        next_ids = catalog.next_firmware, catalog.next_update, catalog.next_campaign
        remove_firmware(batch, firmware_id, next_ids)

    def new_update_id(self) -> int:
        """An id that no update has or had; ids rise with the time of the asking."""
        number = self._catalog.next_update
        self._catalog.next_update += 1
        return number

    def put_update(self, update: FirmwareUpdate) -> None:
        """Keep a new update of an endpoint that is listed."""
        batch = self.writer.gather()
        put_update(batch, self._endpoint(batch, update.endpoint, 0), update)

    def change_update(self, update: FirmwareUpdate, step: UpdateStep | None = None) -> None:
        """Keep what became of an update, and the step that led there; the file numbers the steps."""
        batch = self.writer.gather()
        change_update(batch, update)
        if step is not None:
            put_step(batch, step)

    def put_update_bytes(self, got: Mapping[int, int]) -> None:
        """Note how many bytes of the package have got to the device, by update id."""
        put_update_bytes(self.writer.gather(), got)

    def new_campaign_id(self) -> int:
        """An id that no campaign has or had; ids rise with the time of the asking."""
        number = self._catalog.next_campaign
        self._catalog.next_campaign += 1
        return number

    def put_campaign(self, campaign: Campaign) -> None:
        """Keep a new campaign; its updates come after it."""
        put_campaign(self.writer.gather(), campaign)

    def change_campaign(self, campaign: Campaign) -> None:
        """Keep what became of a campaign."""
        change_campaign(self.writer.gather(), campaign)
        self._catalog.campaign_ended |= campaign.done

    # Who devices are

    def new_credential_id(self) -> int:
        """An id that no credential has or had."""
        number = self._catalog.next_credential
        self._catalog.next_credential += 1
        return number

    def put_credential(self, credential: Credential) -> None:
        """Keep a new credential, or what became of one; its endpoint is listed from then on."""
        batch = self.writer.gather()
        self._endpoint(batch, credential.endpoint, 0)
        put_credential(batch, credential)

    def put_credential_uses(self, used_ms: Mapping[int, int]) -> None:
        """Note when credentials were last used, by id."""
        put_credential_uses(self.writer.gather(), used_ms)

    def remove_unseen(self, endpoint: str) -> None:
        """List an endpoint no longer, if it was never seen; one that was is remembered."""
        batch = self.writer.gather()
        if endpoint in self._catalog.unseen:
            self._catalog.unseen.remove(endpoint)
            number = self._catalog.endpoints.pop(endpoint)
            self._catalog.tags.pop(number, None)
            batch.statements.append(("DELETE FROM endpoint WHERE id = ?", (number,)))

    def put_bootstrap_config(self, endpoint: str, text: str | None) -> None:
        """Keep what bootstrap gives an endpoint ("": everybody else), as JSON; None takes it away."""
        self.writer.gather().statements.append(
            ("DELETE FROM bootstrap_config WHERE endpoint = ?", (endpoint,))
            if text is None
            else ("INSERT OR REPLACE INTO bootstrap_config VALUES (?, ?)", (endpoint, text))
        )

    # DTLS sessions: see `fleet.ports.SessionKeeper`

    def put_session(self, saved: SavedSession) -> None:
        """Keep a session, in place of an earlier state of it."""
        put_session(self.writer.gather(), saved)
        self._proofs[saved.name] = saved.proof

    def put_session_counters(self, counters: Mapping[bytes, tuple[bytes, str, int]]) -> None:
        """Keep counters, address and time of last use (ms since 1970) by session id."""
        put_session_counters(self.writer.gather(), counters)

    def remove_session(self, session_id: bytes) -> None:
        """Forget a session."""
        remove_session(self.writer.gather(), session_id)
        self._proofs.pop(session_name(session_id), None)

    def session_proof(self, name: str) -> Proof | None:
        """By what a kept session (`Sender.session`) was proved; None where it is not kept."""
        return self._proofs.get(name)

    # Within

    def _learn(self, catalog: Catalog) -> None:
        # Who was given one of these ids and waited for something else may still use it.
        catalog.next_firmware = max(catalog.next_firmware, self._catalog.next_firmware)
        catalog.next_update = max(catalog.next_update, self._catalog.next_update)
        catalog.next_campaign = max(catalog.next_campaign, self._catalog.next_campaign)
        self._catalog = catalog

    def _know_package(self, firmware: Firmware) -> None:
        packages = self._catalog.packages
        package = (firmware.sha256, firmware.version)
        if any(known == package and number != firmware.id for number, known in packages.items()):
            raise UsageError(
                "firmware_known",
                f"this package is there already as version {firmware.version}",
                "use the firmware that is there, or give this one another version",
            )
        packages[firmware.id] = package

    def _endpoint(self, batch: Batch, name: str, seen_ms: int) -> int:
        """The id of an endpoint, which gets a row if it has none; `seen_ms` is 0 until it is heard."""
        catalog = self._catalog
        endpoint_id = catalog.endpoints.get(name)
        if endpoint_id is None:
            endpoint_id = catalog.endpoints[name] = catalog.next_endpoint
            catalog.next_endpoint += 1
            batch.statements.append(
                (
                    "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (?, ?, ?, ?)",
                    (endpoint_id, name, seen_ms, seen_ms),
                )
            )
            if not seen_ms:
                catalog.unseen.add(name)
        elif seen_ms and name in catalog.unseen:
            catalog.unseen.remove(name)
            batch.statements.append(
                (
                    "UPDATE endpoint SET first_seen_ms = ?, last_seen_ms = ? WHERE id = ?",
                    (seen_ms, seen_ms, endpoint_id),
                )
            )
        return endpoint_id

    def _note_late(self, batch: Batch, series_id: int, time_ms: int) -> None:
        """Have the hour of a sample rolled up again, and the next where it may still be put."""
        for hour in {time_ms // HOUR_MS, (time_ms + MAX_BESIDE) // HOUR_MS}:
            if (series_id, hour) not in self._catalog.late_hours:
                self._catalog.late_hours.add((series_id, hour))
                batch.statements.append((_LATE, (series_id, hour)))

    def _type(self, batch: Batch, record: Record) -> int:
        catalog = self._catalog
        key = (record.path[0], record.path[2])
        type_id = catalog.types.get(key)
        if type_id is None:
            type_id = catalog.types[key] = catalog.next_type
            catalog.next_type += 1
            described = self._describe(record.path, record.data_type)
            batch.statements.append(
                (
                    "INSERT INTO resource_type (id, object_id, resource_id, name, data_type, units)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (type_id, *key, described.name, described.data_type.value, described.units),
                )
            )
        return type_id

    def _new_series(self, batch: Batch, endpoint_id: int, record: Record) -> Series:
        series = Series(self._catalog.next_series, record.data_type)
        type_id = self._type(batch, record)
        self._catalog.next_series += 1
        batch.statements.append(
            (
                "INSERT INTO series (id, endpoint_id, resource_type_id, path, data_type)"
                " VALUES (?, ?, ?, ?, ?)",
                (series.id, endpoint_id, type_id, str(record.path), record.data_type.value),
            )
        )
        return series

    def _retype(self, batch: Batch, series: Series, data_type: DataType) -> None:
        series.data_type = data_type
        batch.statements.append(
            ("UPDATE series SET data_type = ? WHERE id = ?", (data_type.value, series.id))
        )


def _take_moment(taken: dict[tuple[int, int], int], series_id: int, time_ms: int) -> int:
    """The first moment from `time_ms` on that no other sample of the message took.

    `taken` leads from each taken moment to one behind it, ever shorter: a message may hold thousands
    of values at one moment.
    """
    passed = []
    while (behind := taken.get((series_id, time_ms))) is not None:
        passed.append(time_ms)
        time_ms = behind
    for moment in (*passed, time_ms):
        taken[series_id, moment] = time_ms + 1
    return time_ms


def to_sql(value: Value) -> SqlValue:
    """A value as the sample table keeps it; `from_sql` is its inverse, given the data type."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return value if isfinite(value) else repr(value)
    if isinstance(value, int):
        return value if INT64_MIN <= value <= INT64_MAX else str(value)
    return str(value) if isinstance(value, ObjectLink) else value


def from_sql(value: SqlValue, data_type: DataType) -> Value:
    """A kept value as the device meant it.

    A series that changed its type may hold values of the earlier one: those stay as they are.
    """
    try:
        match data_type:
            case DataType.BOOLEAN if isinstance(value, int):
                return bool(value)
            case DataType.FLOAT if isinstance(value, str):
                return float(value)
            case DataType.INTEGER | DataType.UNSIGNED | DataType.TIME if isinstance(value, str):
                return int(value)
            case DataType.OBJLNK if isinstance(value, str):
                return ObjectLink.parse(value)
    except (ValueError, PeerError):
        pass
    return value


def _open(path: FilePath) -> tuple[sqlite3.Connection, Catalog, Kept]:
    connection = open_database(path)
    try:
        return connection, load_catalog(connection), load_kept(connection)
    except (sqlite3.Error, ValueError, TypeError, LookupError, ApplianceError) as error:
        connection.close()
        raise unreadable(path, error) from error
    except BaseException:
        connection.close()
        raise
