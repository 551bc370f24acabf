"""Any firmware, campaign, update and step comes back from its row as it went in, new and changed."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.db import firmware_rows as rows
from flownexus_appliance.db.firmware import (
    Campaign,
    Firmware,
    FirmwareUpdate,
    Image,
    KeptFirmware,
    UpdateStep,
)
from flownexus_appliance.db.migrate import schema_files
from flownexus_appliance.db.writer import Batch
from flownexus_appliance.lwm2m.firmware import CampaignState, Delivery, Reason, UpdateState
from flownexus_appliance.lwm2m.paths import MAX_ID, Path
from flownexus_appliance.lwm2m.values import INT64_MAX

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
counts = st.integers(0, INT64_MAX)
instances = st.builds(Path.of, st.sampled_from((5, 33629)), st.integers(0, MAX_ID))
deliveries = st.sampled_from(Delivery)
said = {
    "version": texts,
    "image": st.none() | st.builds(Image, texts, counts, st.booleans()),
    "note": texts,
    "model": texts,
    "tag": texts,
    "from_version": texts,
}
firmware = st.builds(
    Firmware,
    id=st.just(3),
    file_name=texts,
    size=counts,
    sha256=st.binary(min_size=32, max_size=32),
    added_by=texts,
    added_ms=counts,
    **said,
)
steered = {
    "name": texts,
    "changed_ms": counts,
    "instance": instances,
    "delivery": st.none() | deliveries,
    "at_once": counts,
    "failure_limit": counts,
    "starts_ms": counts,
    "state": st.sampled_from(CampaignState),
    "reason": st.sampled_from(Reason),
}
campaigns = st.builds(
    Campaign, id=st.just(4), firmware_id=st.just(3), asked_by=texts, created_ms=counts, **steered
)
led = {
    "ticket": texts,
    "changed_ms": counts,
    "instance": instances,
    "wanted": st.none() | deliveries,
    "delivery": st.none() | deliveries,
    "tried": st.lists(deliveries, max_size=4).map(tuple),
    "state": st.sampled_from(UpdateState),
    "result": st.none() | st.integers(0, 255),
    "reason": st.sampled_from(Reason),
    "detail": texts,
    "bytes": counts,
    "attempts": counts,
    "from_version": texts,
    "started_ms": counts,
    "ended_ms": counts,
}
updates = st.builds(
    FirmwareUpdate,
    id=st.just(5),
    endpoint=st.just("a"),
    firmware_id=st.just(3),
    asked_by=texts,
    created_ms=counts,
    campaign_id=st.sampled_from((0, 4)),
    **led,
)
steps = st.builds(
    UpdateStep,
    update_id=st.just(5),
    number=counts,
    time_ms=counts,
    state=st.sampled_from(UpdateState),
    reason=st.sampled_from(Reason),
    detail=texts,
)


class Done:
    """The future of a batch that is carried out in place."""


class File:
    """A database in memory, and what is in it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.batch = Batch(Done())  # type: ignore[arg-type]

    def carry_out(self) -> None:
        for sql, parameters in self.batch.statements:
            self.connection.execute(sql, parameters)
        self.batch.statements.clear()

    def one(self, sql: str, **parameters: int) -> sqlite3.Row:
        row: sqlite3.Row
        (row,) = self.connection.execute(sql, parameters).fetchall()
        return row

    def load(self) -> KeptFirmware:
        with closing(self.connection.cursor()) as cursor:
            return rows.load_firmware(cursor)


@contextmanager
def opened() -> Iterator[File]:
    with closing(sqlite3.connect(":memory:")) as connection:
        for _, script in schema_files():
            connection.executescript(script)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "INSERT INTO endpoint (id, name, first_seen_ms, last_seen_ms) VALUES (7, 'a', 1, 1)"
        )
        connection.row_factory = sqlite3.Row
        yield File(connection)


@given(firmware, st.fixed_dictionaries(said))
def test_firmware_comes_out_as_it_went_in(first: Firmware, change: dict[str, object]) -> None:
    after = replace(first, **change)  # type: ignore[arg-type]
    with opened() as file:
        rows.put_firmware(file.batch, first)
        file.carry_out()
        assert file.load().firmware == (first,)
        rows.change_firmware(file.batch, after)
        file.carry_out()
        assert file.load().firmware == (after,)


@given(firmware, campaigns, updates, steps, st.fixed_dictionaries(steered), st.fixed_dictionaries(led))
def test_updates_and_campaigns_come_out_as_they_went_in(
    package: Firmware,
    campaign: Campaign,
    update: FirmwareUpdate,
    step: UpdateStep,
    steer: dict[str, object],
    lead: dict[str, object],
) -> None:
    campaign_after = replace(campaign, **steer)  # type: ignore[arg-type]
    update_after = replace(update, **lead)  # type: ignore[arg-type]
    with opened() as file:
        rows.put_firmware(file.batch, package)
        rows.put_campaign(file.batch, campaign)
        rows.put_update(file.batch, 7, update)
        file.carry_out()
        assert rows.campaign_of(file.one(rows.CAMPAIGNS)) == campaign
        assert rows.update_of(file.one(rows.UPDATES)) == update
        rows.change_campaign(file.batch, campaign_after)
        rows.change_update(file.batch, update_after)
        rows.put_step(file.batch, step)
        file.carry_out()
        assert rows.campaign_of(file.one(rows.CAMPAIGNS)) == campaign_after
        assert rows.update_of(file.one(rows.UPDATES)) == update_after
        assert rows.step_of(file.one(rows.STEPS, id=5)) == replace(step, number=1)
        # What is taken up at the start is what has not ended.
        kept = file.load()
        assert kept.updates == (() if update_after.done else (update_after,))
        assert kept.campaigns == (() if campaign_after.done else (campaign_after,))
        counts = {update_after.state: 1} if update.campaign_id else {}
        assert kept.counts == ({} if campaign_after.done else {4: counts})
