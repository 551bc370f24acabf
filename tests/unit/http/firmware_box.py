"""Firmware packages, updates and campaigns for the web side's tests.

Shared by tests/unit/http, tests/unit/cli and tests/browser. Decided in memory, at once and simply; the rows
go into the real database, where the reader finds them. `stock` puts in a few of everything.
"""

import asyncio
import hashlib
import json
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any, Final

from flownexus_appliance.db.firmware import Campaign, Firmware, FirmwareUpdate, Image
from flownexus_appliance.errors import ApplianceError, PeerError, UsageError
from flownexus_appliance.events import EventBus
from flownexus_appliance.fleet.ports import Body, Package, PackageGone, Sender
from flownexus_appliance.http.ports_firmware import (
    Begun,
    CampaignPlan,
    Choice,
    FirmwareFacts,
    LeftOut,
    Upload,
    Wish,
)
from flownexus_appliance.lwm2m.firmware import (
    DEFAULT_INSTANCE,
    CampaignState,
    Delivery,
    Reason,
    UpdateState,
)

from .house import HOUR_MS, NOW_MS, QUIET, SENSOR, SLEEPER, STRANGE, FakeFleet

# Few bytes, so that a test can go beyond it.
MAX_PACKAGE: Final = 256 * 1024
NOT_FOR: Final = "firmware_not_for"


@dataclass(slots=True)
class FakePackage:
    """A package in memory; `told` is what the device has come for until now, each time.

    From byte `lasts` on it cannot be read; `claimed` is a size that it only says it has.
    """

    content: bytes = field(repr=False)
    lasts: int | None = None
    claimed: int = 0
    told: list[int] = field(default_factory=list)

    @property
    def size(self) -> int:
        return self.claimed or len(self.content)

    @property
    def etag(self) -> bytes:
        return hashlib.sha256(self.content).digest()[:8]

    def read(self, offset: int, size: int) -> bytes:
        if self.lasts is not None and offset >= self.lasts:
            raise PackageGone("the file of the package is not what it was")
        return self.content[offset : offset + size]

    def fetched(self, until: int) -> None:
        self.told.append(until)


@dataclass(slots=True)
class FakePackages:
    """By ticket."""

    served: dict[str, FakePackage] = field(default_factory=dict)

    def open(self, ticket: str, sender: Sender | None) -> Package:
        if ticket not in self.served or sender is not None:
            raise PeerError("not_found", "there is no such package")
        return self.served[ticket]


class FakeUpload(Upload):
    """Bytes in memory; `begun` is set when there are any."""

    def __init__(self, begun: asyncio.Event) -> None:
        self.content = bytearray()
        self.received = 0
        self._begun = begun

    async def write(self, data: bytes) -> None:
        if len(self.content) + len(data) > MAX_PACKAGE:
            raise UsageError("package_too_large", "the package is too large", "send a smaller one")
        self.content += data
        self.received += len(data)
        self._begun.set()


@dataclass
class FakeFirmwareBox:
    """Meets `FirmwareBox`. `failure` is raised by every call that changes something; `refusing` has why a
    device is left out (a code) by its name. `uploads` are those on their way, `dropped` counts those that
    were thrown away; `begun` and `broken` are set when one brings something, and when one is thrown away.
    Updates stay WAITING until a test moves them."""

    database: FilePath
    fleet: FakeFleet
    bus: EventBus = field(default_factory=EventBus)
    failure: ApplianceError | None = None
    refusing: dict[str, str] = field(default_factory=dict)
    rows: dict[int, Firmware] = field(default_factory=dict)
    updates: dict[int, FirmwareUpdate] = field(default_factory=dict)
    campaigns: dict[int, Campaign] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict, repr=False)
    packages: FakePackages = field(default_factory=FakePackages)
    uploads: list[FakeUpload] = field(default_factory=list)
    dropped: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    broken: asyncio.Event = field(default_factory=asyncio.Event)
    now_ms: int = NOW_MS

    # Packages

    @asynccontextmanager
    async def upload(self) -> AsyncIterator[Upload]:
        self._fail()
        upload = FakeUpload(self.begun)
        self.uploads.append(upload)
        try:
            yield upload
        finally:
            if upload in self.uploads:
                self.uploads.remove(upload)
                self.dropped += 1
                self.broken.set()

    async def add(self, upload: Upload, facts: FirmwareFacts, by: str) -> Firmware:
        self._fail()
        assert isinstance(upload, FakeUpload)
        if not upload.received:
            raise UsageError("package_empty", "the package is empty", "send the file")
        content = bytes(upload.content)
        sha256 = hashlib.sha256(content).digest()
        image = image_of(content)
        version = facts.version or (image.version if image else "")
        if not version:
            raise UsageError("version_missing", "nothing says which version it is", "say it")
        if any((one.sha256, one.version) == (sha256, version) for one in self.rows.values()):
            raise UsageError("firmware_known", "this firmware is here already", "see the list")
        self.uploads = [one for one in self.uploads if one is not upload]
        kept = Firmware(
            id=max(self.rows, default=0) + 1,
            version=version,
            file_name=facts.file_name,
            size=len(content),
            sha256=sha256,
            added_by=by,
            added_ms=self.now_ms,
            image=image,
            note=facts.note,
            model=facts.model,
            tag=facts.tag,
            from_version=facts.from_version,
        )
        self.contents[kept.id] = content
        self._keep_firmware(kept, "added")
        return kept

    def doubts(self, firmware: Firmware) -> Sequence[str]:
        if firmware.image is None:
            return ["no_image"]
        differs = firmware.image.version != firmware.version
        return ["version_mismatch"] * differs + ["unsigned"] * (not firmware.image.signed)

    def all(self) -> Sequence[Firmware]:
        return sorted(self.rows.values(), key=lambda one: -one.id)

    def get(self, firmware_id: int) -> Firmware:
        if firmware_id not in self.rows:
            raise UsageError("firmware_unknown", f"there is no firmware {firmware_id}", "see the list")
        return self.rows[firmware_id]

    async def change(self, firmware_id: int, facts: FirmwareFacts) -> Firmware:
        self._fail()
        before = self.get(firmware_id)
        changed = replace(
            before,
            version=facts.version or before.version,
            note=facts.note,
            model=facts.model,
            tag=facts.tag,
            from_version=facts.from_version,
        )
        self._keep_firmware(changed, "changed")
        return changed

    async def remove(self, firmware_id: int) -> None:
        self._fail()
        self.get(firmware_id)
        mine = [one for one in self.updates.values() if one.firmware_id == firmware_id]
        if any(not one.done for one in mine):
            raise UsageError("firmware_in_use", "an update of it has not ended", "cancel it first")
        removed = self.rows.pop(firmware_id)
        self.updates = {key: one for key, one in self.updates.items() if one not in mine}
        self.campaigns = {k: one for k, one in self.campaigns.items() if one.firmware_id != firmware_id}
        self._run("DELETE FROM firmware_update WHERE firmware_id = ?", (firmware_id,))
        self._run("DELETE FROM firmware_campaign WHERE firmware_id = ?", (firmware_id,))
        self._run("DELETE FROM firmware WHERE id = ?", (firmware_id,))
        self._publish("firmware", id=firmware_id, version=removed.version, change="removed")

    def body(self, firmware_id: int) -> Body:
        self.get(firmware_id)
        return FakePackage(self.contents[firmware_id])

    # Updates

    async def check(self, endpoint: str, firmware: Firmware, wish: Wish) -> None:
        self._fail()
        if endpoint not in self.fleet.states:
            raise UsageError("endpoint_unknown", f"no device is called {endpoint}", "see the list")
        why = self._why_not(endpoint, firmware, wish)
        if why:
            raise UsageError(why, f"{endpoint} cannot have it: {why}", "see its page")
        if self.under_way(endpoint) is not None:
            raise UsageError("update_under_way", f"{endpoint} has an update under way", "cancel it first")

    async def update(self, endpoint: str, firmware_id: int, wish: Wish, by: str) -> FirmwareUpdate:
        firmware = self.get(firmware_id)
        await self.check(endpoint, firmware, wish)
        return self._give(endpoint, firmware, wish, by)

    def under_way(self, endpoint: str) -> FirmwareUpdate | None:
        mine = [one for one in self.updates.values() if one.endpoint == endpoint and not one.done]
        return min(mine, key=lambda one: (one.state is UpdateState.WAITING, one.id), default=None)

    def live(self, update_id: int) -> FirmwareUpdate | None:
        found = self.updates.get(update_id)
        return found if found is not None and not found.done else None

    async def cancel(self, update_id: int) -> FirmwareUpdate:
        self._fail()
        found = self.updates.get(update_id)
        if found is None:
            raise UsageError("update_unknown", f"there is no update {update_id}", "see the list")
        if found.done:
            raise UsageError("update_done", f"update {update_id} has ended", "see what became of it")
        if found.state is UpdateState.UPDATING:
            raise UsageError("update_installing", "the device is installing it", "wait until it is done")
        return self.move(update_id, state=UpdateState.CANCELLED, reason=Reason.ASKED)

    def move(self, update_id: int, **changes: Any) -> FirmwareUpdate:
        """Change an update as the engine would, with its step where the state changes, and tell of it."""
        before = self.updates[update_id]
        changed = replace(before, **changes)
        if changed.state is not before.state:
            ended = self.now_ms if changed.done else 0
            started = before.started_ms or self.now_ms
            changed = replace(changed, changed_ms=self.now_ms, ended_ms=ended, started_ms=started)
            self._keep_update(changed)
            self._step(changed)
        else:
            self._keep_update(changed)
        return changed

    # Campaigns

    async def begin(self, plan: CampaignPlan, by: str) -> Begun:
        chosen, left_out = await self.preview(plan)
        if not chosen:
            raise UsageError("campaign_empty", "no device is left for it", "choose others")
        ahead = plan.starts_ms > self.now_ms
        campaign = Campaign(
            id=max(self.campaigns, default=0) + 1,
            name=plan.name,
            firmware_id=plan.firmware_id,
            asked_by=by,
            created_ms=self.now_ms,
            changed_ms=self.now_ms,
            instance=plan.wish.instance or DEFAULT_INSTANCE,
            delivery=plan.wish.delivery,
            at_once=plan.at_once,
            failure_limit=plan.failure_limit,
            starts_ms=plan.starts_ms,
            state=CampaignState.SCHEDULED if ahead else CampaignState.RUNNING,
        )
        self.keep_campaign(campaign)
        for endpoint in chosen:
            self._give(endpoint, self.get(plan.firmware_id), plan.wish, by, campaign.id)
        return Begun(campaign, len(chosen), left_out)

    async def preview(self, plan: CampaignPlan) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
        self._fail()
        firmware = self.get(plan.firmware_id)
        if not 1 <= plan.at_once <= 1000:
            raise UsageError("at_once_invalid", "not that many at once", "give 1 to 1000")
        if not 0 <= plan.failure_limit <= 100:
            raise UsageError("failure_limit_invalid", "not a share", "give 0 to 100")
        for endpoint in plan.choice.endpoints:
            if endpoint not in self.fleet.states:
                raise UsageError("endpoint_unknown", f"no device is called {endpoint}", "see the list")
        names = plan.choice.endpoints or tuple(sorted(self.fleet.states))
        why = {name: self._why_not(name, firmware, plan.wish) for name in names}
        return (
            tuple(name for name in names if not why[name]),
            tuple(LeftOut(name, why[name]) for name in names if why[name]),
        )

    def campaign(self, campaign_id: int) -> Campaign | None:
        found = self.campaigns.get(campaign_id)
        return found if found is not None and not found.done else None

    def counts(self, campaign_id: int) -> Mapping[UpdateState, int]:
        return Counter(one.state for one in self.updates.values() if one.campaign_id == campaign_id)

    async def steer(self, campaign_id: int, to: CampaignState) -> Campaign:
        self._fail()
        found = self.campaigns.get(campaign_id)
        if found is None:
            raise UsageError("campaign_unknown", f"there is no campaign {campaign_id}", "see the list")
        if found.done:
            raise UsageError("campaign_ended", "the campaign has ended", "begin another")
        if found.state is to:
            raise UsageError("campaign_unmoved", f"it is {to} already", "see the list")
        reason = Reason.NONE if to is CampaignState.RUNNING else Reason.ASKED
        changed = replace(found, state=to, reason=reason, changed_ms=self.now_ms)
        self.keep_campaign(changed)
        return changed

    # Rows

    def put(self, kept: FirmwareUpdate) -> FirmwareUpdate:
        """Keep an update just as it is, with a step for the state it is in."""
        self._keep_update(kept)
        self._step(kept)
        return kept

    def _give(
        self, endpoint: str, firmware: Firmware, wish: Wish, by: str, campaign_id: int = 0
    ) -> FirmwareUpdate:
        number = max(self.updates, default=0) + 1
        ticket = f"ticket-{number:05}"
        self.packages.served[ticket] = FakePackage(self.contents.get(firmware.id, b""))
        return self.put(
            FirmwareUpdate(
                id=number,
                endpoint=endpoint,
                firmware_id=firmware.id,
                ticket=ticket,
                asked_by=by,
                created_ms=self.now_ms,
                changed_ms=self.now_ms,
                campaign_id=campaign_id,
                instance=wish.instance or DEFAULT_INSTANCE,
                wanted=wish.delivery,
                from_version="1.4.2" if endpoint == SENSOR else "",
            )
        )

    def _why_not(self, endpoint: str, firmware: Firmware, wish: Wish) -> str:
        why = self.refusing.get(endpoint, "")
        return "" if why == NOT_FOR and wish.anyway else why

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _publish(self, name: str, /, **data: object) -> None:
        self.bus.publish(name, data)

    def _keep_firmware(self, kept: Firmware, change: str) -> None:
        image = kept.image
        said = "" if image is None else {"version": image.version, "size": image.size, "signed": image.signed}
        self.rows[kept.id] = kept
        self._run(
            "INSERT INTO firmware VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET version = excluded.version, note = excluded.note,"
            " model = excluded.model, tag = excluded.tag, from_version = excluded.from_version",
            (
                kept.id,
                kept.version,
                kept.file_name,
                kept.size,
                kept.sha256,
                json.dumps(said) if said else "",
                kept.note,
                kept.model,
                kept.tag,
                kept.from_version,
                kept.added_by,
                kept.added_ms,
            ),
        )
        self._publish("firmware", id=kept.id, version=kept.version, change=change)

    def _keep_update(self, kept: FirmwareUpdate) -> None:
        self.updates[kept.id] = kept
        self._run(
            "INSERT INTO firmware_update VALUES (?, (SELECT id FROM endpoint WHERE name = ?),"
            " ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET delivery = excluded.delivery, tried = excluded.tried,"
            " state = excluded.state, result = excluded.result, reason = excluded.reason,"
            " detail = excluded.detail, bytes = excluded.bytes, attempts = excluded.attempts,"
            " started_ms = excluded.started_ms, changed_ms = excluded.changed_ms,"
            " ended_ms = excluded.ended_ms",
            (
                kept.id,
                kept.endpoint,
                kept.firmware_id,
                kept.campaign_id or None,
                str(kept.instance),
                kept.wanted or "",
                kept.delivery or "",
                " ".join(kept.tried),
                kept.ticket,
                kept.state,
                kept.result,
                kept.reason,
                kept.detail,
                kept.bytes,
                kept.attempts,
                kept.from_version,
                kept.asked_by,
                kept.created_ms,
                kept.started_ms,
                kept.changed_ms,
                kept.ended_ms,
            ),
        )
        firmware = self.rows[kept.firmware_id]
        self._publish(
            "firmware_update",
            endpoint=kept.endpoint,
            id=kept.id,
            campaign=kept.campaign_id,
            firmware=kept.firmware_id,
            version=firmware.version,
            instance=str(kept.instance),
            state=kept.state.value,
            delivery=kept.delivery.value if kept.delivery else "",
            bytes=kept.bytes,
            size=firmware.size,
            attempts=kept.attempts,
            result=kept.result,
            reason=kept.reason.value,
            detail=kept.detail,
            time_ms=kept.changed_ms,
        )

    def _step(self, kept: FirmwareUpdate) -> None:
        self._run(
            "INSERT INTO firmware_update_step SELECT ?1, ifnull(max(number), 0) + 1, ?2, ?3, ?4, ?5"
            " FROM firmware_update_step WHERE update_id = ?1",
            (kept.id, kept.changed_ms, kept.state, kept.reason, kept.detail),
        )

    def keep_campaign(self, kept: Campaign) -> None:
        self.campaigns[kept.id] = kept
        self._run(
            "INSERT INTO firmware_campaign VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            " ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason,"
            " changed_ms = excluded.changed_ms",
            (
                kept.id,
                kept.name,
                kept.firmware_id,
                str(kept.instance),
                kept.delivery or "",
                kept.at_once,
                kept.failure_limit,
                kept.starts_ms,
                kept.state,
                kept.reason,
                kept.asked_by,
                kept.created_ms,
                kept.changed_ms,
            ),
        )
        self._publish(
            "firmware_campaign",
            id=kept.id,
            name=kept.name,
            firmware=kept.firmware_id,
            state=kept.state.value,
            reason=kept.reason.value,
            counts={state.value: count for state, count in self.counts(kept.id).items()},
            time_ms=kept.changed_ms,
        )

    def _run(self, sql: str, parameters: Sequence[object]) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(sql, parameters)


def image_of(content: bytes) -> Image | None:
    """What stands for an MCUboot header here: `IMAGE 1.5.0+0 signed`, and a line break."""
    words = content.split(b"\n", 1)[0].decode("latin-1").split(" ")
    if words[0] != "IMAGE" or len(words) < 2:
        return None
    return Image(words[1], len(content), "signed" in words)


async def stock(box: FakeFirmwareBox) -> None:
    """Put in three packages, seven updates and two campaigns.

    Packages: 1 is 1.5.0, signed, for Thingy:91; 2 is 1.6.0, whose header says another version; 3 has no
    header. Updates: 1 of STRANGE succeeded, 2 of SENSOR reverted, 3 failed, 4 was cancelled, 5 of SLEEPER
    waits, 6 failed, 7 of SENSOR gets its package by coaps. Campaigns: 1 (updates 1 and 2) is done, 2 (5 and
    6) has run into its limit.
    """
    kept = []
    for content, facts in (
        (
            b"IMAGE 1.5.0 signed\n" + b"\x15" * 40_000,
            FirmwareFacts("1.5.0", "app_update.bin", "Fixes the clock\nand the <modem>", model="Thingy:91"),
        ),
        (
            b"IMAGE 1.6.1\n" + b"\x16" * 80_000,
            FirmwareFacts("1.6.0", "app 1.6.bin", tag="field", from_version="1.5.0"),
        ),
        (b"\x7fELF" + b"\x17" * 3_000, FirmwareFacts("2.0.0-rc1", "x.hex")),
    ):
        async with box.upload() as upload:
            await upload.write(content)
            kept.append(await box.add(upload, facts, "ada"))
    first, second, _ = kept
    await _ended(box, first, second)
    got = (await box.update(SENSOR, second.id, Wish(), "ada")).id
    box.move(got, state=UpdateState.PREPARING, attempts=1)
    box.move(got, state=UpdateState.DOWNLOADING, delivery=Delivery.COAPS, bytes=second.size // 4)


async def _ended(box: FakeFirmwareBox, first: Firmware, second: Firmware) -> None:
    """What is over, and a campaign that stands still."""
    box.now_ms = NOW_MS - 5 * HOUR_MS
    box.refusing = {QUIET: "endpoint_unseen", SLEEPER: "object_missing"}
    done = await box.begin(CampaignPlan(first.id, Choice(), "All of it at night", at_once=2), "ada")
    box.refusing = {}
    one, two = (key for key, row in box.updates.items() if row.campaign_id == done.campaign.id)
    for key in (one, two):
        box.move(key, state=UpdateState.PREPARING, attempts=1)
        box.move(key, state=UpdateState.DOWNLOADING, delivery=Delivery.COAPS)
        box.move(key, state=UpdateState.DOWNLOADED, bytes=first.size)
        box.move(key, state=UpdateState.UPDATING)
    box.now_ms += 120_000
    box.move(one, state=UpdateState.SUCCEEDED, result=1, reason=Reason.RESULT)
    box.move(two, state=UpdateState.REVERTED, reason=Reason.REVERTED, detail="1.4.2")
    box.keep_campaign(
        replace(box.campaigns[done.campaign.id], state=CampaignState.DONE, changed_ms=box.now_ms)
    )
    failed = (await box.update(STRANGE, first.id, Wish(Delivery.PUSH), "grace")).id
    box.move(failed, state=UpdateState.FAILED, attempts=1, result=5, reason=Reason.RESULT)
    dropped = (await box.update(STRANGE, first.id, Wish(), "grace")).id
    await box.cancel(dropped)
    box.now_ms = NOW_MS - HOUR_MS
    stuck = await box.begin(CampaignPlan(second.id, Choice((SLEEPER, STRANGE)), "Field"), "grace")
    waits, lost = (key for key, row in box.updates.items() if row.campaign_id == stuck.campaign.id)
    assert box.updates[waits].endpoint == SLEEPER
    box.move(lost, state=UpdateState.PREPARING, attempts=2)
    box.move(lost, state=UpdateState.FAILED, reason=Reason.SILENT, detail="no answer for 30 minutes")
    box.keep_campaign(
        replace(box.campaigns[stuck.campaign.id], state=CampaignState.PAUSED, reason=Reason.FAILURES)
    )
    box.now_ms = NOW_MS
