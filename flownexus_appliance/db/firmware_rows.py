"""Firmware, updates and campaigns as rows (schema 6): the SQL of the tables `firmware`, `firmware_campaign`,
`firmware_update` and `firmware_update_step`.

A commit is shared by all devices, so none of these statements can fail one: a reference to what is gone
writes nothing, and what somebody still needs is not deleted.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Final

from ..lwm2m.firmware import CAMPAIGN_ENDED, ENDED, CampaignState, Delivery, Reason, UpdateState
from ..lwm2m.paths import Path
from .firmware import Campaign, Firmware, FirmwareUpdate, Image, KeptFirmware, UpdateStep
from .writer import Batch, SqlValue

# Of each endpoint, the updates that have ended and belong to no campaign. Those of campaigns go with them:
# `firmware_room`.
ENDED_KEPT: Final = 50
UNFINISHED: Final = frozenset(UpdateState) - ENDED
# In the `setting` table: the ids that are given out next, where the last ones were removed.
NEXT_IDS: Final = "firmware_next_ids"


def _words(states: frozenset[UpdateState] | frozenset[CampaignState]) -> str:
    return ", ".join(f"'{state.value}'" for state in sorted(states))


IS_UNFINISHED: Final = f"u.state IN ({_words(UNFINISHED)})"
IS_ENDED: Final = f"state IN ({_words(ENDED)})"
CAMPAIGN_IS_ENDED: Final = f"state IN ({_words(CAMPAIGN_ENDED)})"

FIRMWARE: Final = "SELECT * FROM firmware"
CAMPAIGNS: Final = "SELECT * FROM firmware_campaign"
UPDATES: Final = """
    SELECT u.*, e.name AS endpoint, e.label FROM firmware_update u JOIN endpoint e ON e.id = u.endpoint_id
"""
STEPS: Final = "SELECT * FROM firmware_update_step WHERE update_id = :id ORDER BY number"
COUNTS: Final = """
    SELECT campaign_id, state, count(*) FROM firmware_update
    WHERE campaign_id IN (SELECT value FROM json_each(:ids)) GROUP BY campaign_id, state
"""

_PUT_FIRMWARE: Final = """
    INSERT INTO firmware (id, file_name, size, sha256, added_by, added_ms,
        version, image, note, model, tag, from_version)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sha256, version) DO NOTHING
"""
_CHANGE_FIRMWARE: Final = """
    UPDATE OR IGNORE firmware SET version = ?, image = ?, note = ?, model = ?, tag = ?, from_version = ?
    WHERE id = ?
"""
_REMOVE_FIRMWARE: Final = (
    f"DELETE FROM firmware_update WHERE firmware_id = ? AND {IS_ENDED}",
    f"""DELETE FROM firmware_campaign WHERE firmware_id = ? AND {CAMPAIGN_IS_ENDED}
        AND NOT EXISTS (SELECT 1 FROM firmware_update WHERE campaign_id = firmware_campaign.id)""",
    """DELETE FROM firmware WHERE id = ?1
        AND NOT EXISTS (SELECT 1 FROM firmware_update WHERE firmware_id = ?1)
        AND NOT EXISTS (SELECT 1 FROM firmware_campaign WHERE firmware_id = ?1)""",
)
_PUT_CAMPAIGN: Final = """
    INSERT INTO firmware_campaign (id, firmware_id, asked_by, created_ms,
        name, instance, delivery, at_once, failure_limit, starts_ms, state, reason, changed_ms)
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13
    WHERE EXISTS (SELECT 1 FROM firmware WHERE id = ?2)
"""
_CHANGE_CAMPAIGN: Final = """
    UPDATE firmware_campaign SET name = ?, instance = ?, delivery = ?, at_once = ?, failure_limit = ?,
        starts_ms = ?, state = ?, reason = ?, changed_ms = ? WHERE id = ?
"""
# An update whose campaign has gone meanwhile is one by itself.
_PUT_UPDATE: Final = """
    INSERT INTO firmware_update (id, endpoint_id, firmware_id, campaign_id, asked_by, created_ms,
        instance, wanted, delivery, tried, ticket, state, result, reason, detail, bytes, attempts,
        from_version, changed_ms, started_ms, ended_ms)
    SELECT ?1, ?2, ?3, (SELECT id FROM firmware_campaign WHERE id = ?4), ?5, ?6,
        ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21
    WHERE EXISTS (SELECT 1 FROM firmware WHERE id = ?3)
"""
_CHANGE_UPDATE: Final = """
    UPDATE firmware_update SET instance = ?, wanted = ?, delivery = ?, tried = ?, ticket = ?, state = ?,
        result = ?, reason = ?, detail = ?, bytes = ?, attempts = ?, from_version = ?, changed_ms = ?,
        started_ms = ?, ended_ms = ? WHERE id = ?
"""
_PUT_BYTES: Final = "UPDATE firmware_update SET bytes = ? WHERE id = ?"
_PUT_STEP: Final = """
    INSERT INTO firmware_update_step (update_id, number, time_ms, state, reason, detail)
    SELECT ?1, ifnull((SELECT max(number) FROM firmware_update_step WHERE update_id = ?1), 0) + 1,
        ?2, ?3, ?4, ?5
    WHERE EXISTS (SELECT 1 FROM firmware_update WHERE id = ?1)
"""
_DROP_ENDED: Final = f"""
    DELETE FROM firmware_update WHERE endpoint_id = ?1 AND campaign_id IS NULL AND {IS_ENDED}
        AND id <= (
            SELECT id FROM firmware_update WHERE endpoint_id = ?1 AND campaign_id IS NULL
            ORDER BY id DESC LIMIT 1 OFFSET ?2
        )
"""
_PUT_NEXT_IDS: Final = f"INSERT OR REPLACE INTO setting VALUES ('{NEXT_IDS}', ?)"
# Firmware, update, campaign.
_LAST_IDS: Final = """
    SELECT (SELECT max(id) FROM firmware), (SELECT max(id) FROM firmware_update),
           (SELECT max(id) FROM firmware_campaign)
"""


def put_firmware(batch: Batch, kept: Firmware) -> None:
    """Keep a new firmware; nothing where the same package is there as the same version."""
    parameters = (kept.id, kept.file_name, kept.size, kept.sha256, kept.added_by, kept.added_ms)
    batch.statements.append((_PUT_FIRMWARE, (*parameters, *_firmware_columns(kept))))


def change_firmware(batch: Batch, kept: Firmware) -> None:
    """Keep what is said of a firmware now; the package, its name and who added it stay."""
    batch.statements.append((_CHANGE_FIRMWARE, (*_firmware_columns(kept), kept.id)))


def remove_firmware(batch: Batch, firmware_id: int, next_ids: tuple[int, int, int]) -> None:
    """Forget a firmware with its ended updates and campaigns; it stays where one has not ended.

    `next_ids` (firmware, update, campaign) are kept: the ids that go are never given out again.
    """
    for statement in _REMOVE_FIRMWARE:
        batch.statements.append((statement, (firmware_id,)))
    batch.statements.append((_PUT_NEXT_IDS, (json.dumps(next_ids),)))


def put_campaign(batch: Batch, kept: Campaign) -> None:
    """Keep a new campaign; nothing where its firmware is gone."""
    parameters = (kept.id, kept.firmware_id, kept.asked_by, kept.created_ms)
    batch.statements.append((_PUT_CAMPAIGN, (*parameters, *_campaign_columns(kept))))


def change_campaign(batch: Batch, kept: Campaign) -> None:
    """Keep what became of a campaign; its firmware, who asked for it and when stay."""
    batch.statements.append((_CHANGE_CAMPAIGN, (*_campaign_columns(kept), kept.id)))


def put_update(batch: Batch, endpoint_id: int, kept: FirmwareUpdate) -> None:
    """Keep a new update, and drop the endpoint's oldest beyond `ENDED_KEPT`; nothing where its firmware is
    gone."""
    parameters = (
        kept.id,
        endpoint_id,
        kept.firmware_id,
        kept.campaign_id or None,
        kept.asked_by,
        kept.created_ms,
    )
    batch.statements.append((_PUT_UPDATE, (*parameters, *_update_columns(kept))))
    if not kept.campaign_id:
        batch.statements.append((_DROP_ENDED, (endpoint_id, ENDED_KEPT)))


def change_update(batch: Batch, kept: FirmwareUpdate) -> None:
    """Keep what became of an update; whose it is, of what, who asked for it and when stay."""
    batch.statements.append((_CHANGE_UPDATE, (*_update_columns(kept), kept.id)))


def put_update_bytes(batch: Batch, got: Mapping[int, int]) -> None:
    """Note how much of the package has got there, by update id."""
    for number, count in got.items():
        batch.statements.append((_PUT_BYTES, (count, number)))


def put_step(batch: Batch, step: UpdateStep) -> None:
    """Keep a step as the last of its update, whatever its `number`."""
    parameters = (step.update_id, step.time_ms, step.state.value, step.reason.value, step.detail)
    batch.statements.append((_PUT_STEP, parameters))


def load_next_ids(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """The ids that no firmware, update and campaign has or had; raises ValueError, TypeError."""
    last = connection.execute(_LAST_IDS).fetchone()
    row = connection.execute("SELECT value FROM setting WHERE name = ?", (NEXT_IDS,)).fetchone()
    firmware, update, campaign = json.loads(row[0]) if row else (1, 1, 1)
    return (
        max(firmware, (last[0] or 0) + 1),
        max(update, (last[1] or 0) + 1),
        max(campaign, (last[2] or 0) + 1),
    )


def load_firmware(cursor: sqlite3.Cursor) -> KeptFirmware:
    """What is there at the start; the cursor's rows are `sqlite3.Row`.

    Raises ValueError, LookupError, TypeError, ApplianceError for what nobody can have written.
    """
    firmware = tuple(firmware_of(row) for row in cursor.execute(f"{FIRMWARE} ORDER BY id"))
    unfinished = f"{CAMPAIGNS} WHERE NOT {CAMPAIGN_IS_ENDED} ORDER BY id"
    campaigns = tuple(campaign_of(row) for row in cursor.execute(unfinished))
    updates = tuple(
        update_of(row) for row in cursor.execute(f"{UPDATES} WHERE {IS_UNFINISHED} ORDER BY u.id")
    )
    ids = [campaign.id for campaign in campaigns]
    rows = cursor.execute(COUNTS, {"ids": json.dumps(ids)}).fetchall()
    return KeptFirmware(firmware, campaigns, updates, counts_of(rows, ids))


def counts_of(rows: Iterable[sqlite3.Row], ids: Iterable[int] = ()) -> dict[int, dict[UpdateState, int]]:
    """Rows of id, state and number as a table; each of `ids` is in it."""
    found: dict[int, dict[UpdateState, int]] = {number: {} for number in ids}
    for number, state, count in rows:
        found.setdefault(number, {})[UpdateState(state)] = count
    return found


def firmware_of(row: sqlite3.Row) -> Firmware:
    """A row of `FIRMWARE`; raises as `load_firmware`."""
    return Firmware(
        id=row["id"],
        version=row["version"],
        file_name=row["file_name"],
        size=row["size"],
        sha256=row["sha256"],
        added_by=row["added_by"],
        added_ms=row["added_ms"],
        image=Image(**json.loads(row["image"])) if row["image"] else None,
        note=row["note"],
        model=row["model"],
        tag=row["tag"],
        from_version=row["from_version"],
    )


def campaign_of(row: sqlite3.Row) -> Campaign:
    """A row of `CAMPAIGNS`; raises as `load_firmware`."""
    return Campaign(
        id=row["id"],
        name=row["name"],
        firmware_id=row["firmware_id"],
        asked_by=row["asked_by"],
        created_ms=row["created_ms"],
        changed_ms=row["changed_ms"],
        instance=Path.parse(row["instance"]),
        delivery=_delivery(row["delivery"]),
        at_once=row["at_once"],
        failure_limit=row["failure_limit"],
        starts_ms=row["starts_ms"],
        state=CampaignState(row["state"]),
        reason=Reason(row["reason"]),
    )


def update_of(row: sqlite3.Row) -> FirmwareUpdate:
    """A row of `UPDATES`; raises as `load_firmware`."""
    return FirmwareUpdate(
        id=row["id"],
        endpoint=row["endpoint"],
        firmware_id=row["firmware_id"],
        ticket=row["ticket"],
        asked_by=row["asked_by"],
        created_ms=row["created_ms"],
        changed_ms=row["changed_ms"],
        campaign_id=row["campaign_id"] or 0,
        instance=Path.parse(row["instance"]),
        wanted=_delivery(row["wanted"]),
        delivery=_delivery(row["delivery"]),
        tried=tuple(map(Delivery, row["tried"].split())),
        state=UpdateState(row["state"]),
        result=row["result"],
        reason=Reason(row["reason"]),
        detail=row["detail"],
        bytes=row["bytes"],
        attempts=row["attempts"],
        from_version=row["from_version"],
        started_ms=row["started_ms"],
        ended_ms=row["ended_ms"],
    )


def step_of(row: sqlite3.Row) -> UpdateStep:
    """A row of `STEPS`; raises as `load_firmware`."""
    return UpdateStep(
        update_id=row["update_id"],
        number=row["number"],
        time_ms=row["time_ms"],
        state=UpdateState(row["state"]),
        reason=Reason(row["reason"]),
        detail=row["detail"],
    )


def _firmware_columns(kept: Firmware) -> tuple[SqlValue, ...]:
    image = "" if kept.image is None else json.dumps(asdict(kept.image))
    return kept.version, image, kept.note, kept.model, kept.tag, kept.from_version


def _campaign_columns(kept: Campaign) -> tuple[SqlValue, ...]:
    return (
        kept.name,
        str(kept.instance),
        _word(kept.delivery),
        kept.at_once,
        kept.failure_limit,
        kept.starts_ms,
        kept.state.value,
        kept.reason.value,
        kept.changed_ms,
    )


def _update_columns(kept: FirmwareUpdate) -> tuple[SqlValue | None, ...]:
    return (
        str(kept.instance),
        _word(kept.wanted),
        _word(kept.delivery),
        " ".join(kept.tried),
        kept.ticket,
        kept.state.value,
        kept.result,
        kept.reason.value,
        kept.detail,
        kept.bytes,
        kept.attempts,
        kept.from_version,
        kept.changed_ms,
        kept.started_ms,
        kept.ended_ms,
    )


def _word(delivery: Delivery | None) -> str:
    return "" if delivery is None else delivery.value


def _delivery(text: str) -> Delivery | None:
    return Delivery(text) if text else None
