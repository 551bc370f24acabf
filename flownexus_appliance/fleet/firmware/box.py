"""Firmware updates as the rest of the house sees them: packages, updates and campaigns together.

Meets `http.ports_firmware.FirmwareBox`. Here is what may be asked at all: which device may be given which
firmware, and which devices a campaign has. What becomes of it is `updates.py` and `campaigns.py`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Final

from ...db.firmware import Campaign, Firmware, FirmwareUpdate, KeptFirmware
from ...db.firmware_reads import RunningRow
from ...db.migrate import StoreError
from ...db.package_files import PackageFiles
from ...db.store import Store
from ...errors import UsageError, clean
from ...events import EventBus
from ...lwm2m.core import Core, Moment, unknown_endpoint
from ...lwm2m.firmware import (
    ADVANCED_FIRMWARE_UPDATE,
    DEFAULT_INSTANCE,
    FIRMWARE_UPDATE,
    OBJECTS,
    CampaignState,
    UpdateState,
    same_version,
)
from ...lwm2m.paths import Path
from ...lwm2m.registration import Registration
from ..operations import Operations
from ..performer import Performer
from ..ports import Body, Packages, Wire
from ..requests import Answered
from .campaigns import Campaigns
from .facts import FirmwareFacts
from .lead import Means
from .library import Library
from .offers import Offers
from .plans import Begun, CampaignPlan, Choice, LeftOut, Wish, check_instance, check_plan
from .shelf import Shelf
from .updates import Updates
from .upload import Upload

log = logging.getLogger(__name__)

# What every endpoint that was heard says it is and runs.
Inventory = Callable[[], Awaitable[Sequence[RunningRow]]]


@dataclass(frozen=True, slots=True)
class FirmwareParts:
    """What the box works with; `watched` are the paths that a device reports without being asked here."""

    store: Store
    bus: EventBus
    core: Core
    operations: Operations
    performer: Performer
    perform: Callable[..., Awaitable[Answered]]
    watched: Callable[[str], Sequence[Path]]
    inventory: Inventory
    clock: Callable[[], Moment]
    offers: Offers
    patience_s: float
    comeback_s: float


class FirmwareBox:
    """See `http.ports_firmware.FirmwareBox`; `tick` once a second, `wake` and `registered` for the intake."""

    def __init__(self, parts: FirmwareParts) -> None:
        self._parts = parts
        self._store = parts.store
        self._core = parts.core
        self._offers = parts.offers
        files = PackageFiles(parts.store.path.parent / "firmware")
        self._library = Library(parts.store, files, parts.bus, parts.clock, self._in_use)
        self._updates = Updates(
            parts.store, parts.bus, self._means, self._library.get, self._listens, parts.clock
        )
        self._campaigns = Campaigns(parts.store, parts.bus, self._updates)
        self._updates.gate = self._campaigns
        self._shelf = Shelf(
            self._updates.by_ticket, self._library, files, self._updates.fetched, plain=parts.offers.plain
        )
        self._dropping: asyncio.Task[None] | None = None

    async def prepare(self, kept: KeptFirmware) -> None:
        """Take up what an earlier run left; half uploads of it are swept away. ApplianceError:
        package_unwritable."""
        await self._library.start(kept)
        self._shelf.start()
        self._campaigns.start(kept)
        self._updates.start(kept.updates)

    def attach(self, wire: Wire) -> None:
        self._offers.wire = wire

    def open(self, https_port: int = 0) -> None:
        """The wire and the web server are up: lead on what an earlier run began."""
        self._offers.https_port = https_port
        self._updates.open()

    async def stop(self) -> None:
        """Break all off; the next start goes on."""
        if self._dropping is not None:
            self._dropping.cancel()
            await asyncio.gather(self._dropping, return_exceptions=True)
        await self._updates.stop()
        await self._library.stop()
        self._shelf.stop()

    # What devices and time bring about

    def wake(self, endpoint: str) -> None:
        """The device was heard."""
        self._updates.wake(endpoint)

    def registered(self, endpoint: str) -> None:
        """The device registered anew."""
        self._updates.registered(endpoint)

    def tick(self, moment: Moment) -> None:
        self._campaigns.tick(moment)
        self._updates.tick(moment)
        astray = self._campaigns.astray()
        if astray and (self._dropping is None or self._dropping.done()):
            self._dropping = asyncio.create_task(self._drop(astray))

    # Packages

    @property
    def packages(self) -> Packages:
        """What devices fetch, by ticket."""
        return self._shelf

    def upload(self) -> AbstractAsyncContextManager[Upload]:
        """See `Library.upload`."""
        return self._library.upload()

    async def add(self, upload: Upload, facts: FirmwareFacts, by: str) -> Firmware:
        """See `Library.add`."""
        return await self._library.add(upload, facts, by)

    def doubts(self, firmware: Firmware) -> Sequence[str]:
        """See `Library.doubts`."""
        return self._library.doubts(firmware)

    def all(self) -> Sequence[Firmware]:
        """The newest first."""
        return self._library.all()

    def get(self, firmware_id: int) -> Firmware:
        """UsageError("firmware_unknown")."""
        return self._library.get(firmware_id)

    async def change(self, firmware_id: int, facts: FirmwareFacts) -> Firmware:
        """See `Library.change`."""
        return await self._library.change(firmware_id, facts)

    async def remove(self, firmware_id: int) -> None:
        """See `Library.remove`."""
        await self._library.remove(firmware_id)

    def body(self, firmware_id: int) -> Body:
        """A package, to be read. UsageError("firmware_unknown"); PackageGone."""
        self._library.get(firmware_id)
        return self._shelf.body(firmware_id)

    # Updates

    async def check(self, endpoint: str, firmware: Firmware, wish: Wish) -> None:
        """See the port."""
        check_instance(wish.instance)
        rows = {row.endpoint: row for row in await self._parts.inventory()}
        self._check(endpoint, firmware, wish, rows.get(endpoint))
        under_way = self.under_way(endpoint)
        if under_way is not None:
            raise UsageError(
                "update_under_way",
                f"the device {clean(endpoint)} has update {under_way.id} already, which is {under_way.state}",
                "wait for its end, or cancel it",
            )

    async def update(self, endpoint: str, firmware_id: int, wish: Wish, by: str) -> FirmwareUpdate:
        """See the port."""
        await self.check(endpoint, self._library.get(firmware_id), wish)
        # Nothing is awaited from here to the row: what was checked holds.
        firmware = self._library.get(firmware_id)
        if self.under_way(endpoint) is not None or self._updates.is_coming(endpoint):
            raise UsageError(
                "update_under_way", f"{clean(endpoint)} was given an update just now", "wait for its end"
            )
        instance = wish.instance or _instance_of(self._registration(endpoint))
        return await self._updates.add(endpoint, firmware, by, instance, wish.delivery)

    def under_way(self, endpoint: str) -> FirmwareUpdate | None:
        """A device's update that has not ended: the one that has begun, else the one that waits longest."""
        found = self._updates.of(endpoint)
        return found[0] if found else None

    def live(self, update_id: int) -> FirmwareUpdate | None:
        """An update that has not ended, as it stands this moment."""
        return self._updates.live(update_id)

    async def cancel(self, update_id: int) -> FirmwareUpdate:
        """See the port."""
        return await self._updates.cancel(update_id)

    # Campaigns

    async def preview(self, plan: CampaignPlan) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
        """See the port."""
        check_plan(plan, self._parts.clock().wall_ms)
        firmware = self._library.get(plan.firmware_id)
        rows = {row.endpoint: row for row in await self._parts.inventory()}
        devices: list[str] = []
        left_out: list[LeftOut] = []
        if plan.choice.endpoints:
            for endpoint in dict.fromkeys(plan.choice.endpoints):
                self._check(endpoint, firmware, plan.wish, rows.get(endpoint))
                devices.append(endpoint)
            return tuple(devices), ()
        for endpoint, row in sorted(rows.items()):
            if not self._is_chosen(row, plan.choice, firmware):
                continue
            if same_version(str(row.version or ""), firmware.versions) and not plan.wish.anyway:
                left_out.append(LeftOut(endpoint, "runs_it"))
                continue
            try:
                self._check(endpoint, firmware, plan.wish, row)
            except UsageError as error:
                left_out.append(LeftOut(endpoint, error.code))
            else:
                devices.append(endpoint)
        return tuple(devices), tuple(left_out)

    async def begin(self, plan: CampaignPlan, by: str) -> Begun:
        """See the port."""
        devices, left_out = await self.preview(plan)
        firmware = self._library.get(plan.firmware_id)
        if not devices:
            raise UsageError(
                "campaign_empty",
                "there is no device that the campaign is for",
                "name devices, or choose another model, tag or version",
            )
        now_ms = self._parts.clock().wall_ms
        ahead = plan.starts_ms > now_ms
        campaign = Campaign(
            id=self._store.new_campaign_id(),
            name=plan.name.strip() or firmware.version,
            firmware_id=firmware.id,
            asked_by=by,
            created_ms=now_ms,
            changed_ms=now_ms,
            instance=plan.wish.instance or DEFAULT_INSTANCE,
            delivery=plan.wish.delivery,
            at_once=plan.at_once,
            failure_limit=plan.failure_limit,
            starts_ms=plan.starts_ms if ahead else now_ms,
            state=CampaignState.SCHEDULED if ahead else CampaignState.RUNNING,
        )
        self._campaigns.put(campaign)
        updates = [
            self._updates.put(
                endpoint,
                firmware,
                by,
                plan.wish.instance or _instance_of(self._registration(endpoint)),
                plan.wish.delivery,
                campaign.id,
            )
            for endpoint in devices
        ]
        await asyncio.shield(self._updates.enter(updates, lambda: self._campaigns.entered(campaign)))
        return Begun(campaign, len(devices), left_out)

    def campaign(self, campaign_id: int) -> Campaign | None:
        """A campaign that has not ended, as it stands this moment."""
        return self._campaigns.get(campaign_id)

    def counts(self, campaign_id: int) -> Mapping[UpdateState, int]:
        """How many updates of a campaign that has not ended are in each state."""
        return self._campaigns.counts(campaign_id)

    async def steer(self, campaign_id: int, to: CampaignState) -> Campaign:
        """See the port."""
        return await self._campaigns.steer(campaign_id, to, self._parts.clock().wall_ms)

    # Within

    def _means(self, updates: Updates) -> Means:
        parts = self._parts
        return Means(
            perform=parts.perform,
            push=parts.performer.push,
            idle=parts.operations.idle,
            registration=self._registration,
            observed=self._is_observed,
            body=lambda update: self._shelf.body(update.firmware_id),
            keep=updates.keep,
            progressed=updates.progressed,
            offers=self._offers,
            clock=parts.clock,
            patience_s=parts.patience_s,
            comeback_s=parts.comeback_s,
        )

    def _registration(self, endpoint: str) -> Registration | None:
        device = self._core.device(endpoint)
        return None if device is None else device.registration

    def _listens(self, endpoint: str) -> float:
        return self._core.listens_for(endpoint, self._parts.clock().now)

    def _is_observed(self, endpoint: str, path: Path) -> bool:
        device = self._core.device(endpoint)
        observed = device is not None and any(
            one.covers(path) for paths in device.observations for one in paths
        )
        return observed or path in self._parts.watched(endpoint)

    def _in_use(self, firmware_id: int) -> bool:
        return self._updates.uses(firmware_id) or self._campaigns.uses(firmware_id)

    def _check(self, endpoint: str, firmware: Firmware, wish: Wish, row: RunningRow | None) -> None:
        """Whether a device may be given a firmware, whatever else is under way; UsageError as `check`."""
        if not self._store.knows(endpoint):
            raise unknown_endpoint(endpoint)
        device = self._core.device(endpoint)
        if device is None or not device.heard_ms:
            raise UsageError(
                "endpoint_unseen",
                f"the device {clean(endpoint)} has never registered",
                "start the device, and try again when it is there",
            )
        registration = device.registration
        if registration is not None:
            _check_object(endpoint, registration, wish.instance)
        ways = self._offers.open() if registration is None else self._offers.ways(registration)
        if wish.delivery is not None and wish.delivery not in ways:
            raise UsageError(
                "delivery_closed",
                f"the box cannot give {clean(endpoint)} a package by {wish.delivery}",
                f"leave the choice to the box, or use one of {', '.join(ways)}",
            )
        if not wish.anyway and not self._is_for(firmware, endpoint, row):
            raise UsageError(
                "firmware_not_for",
                f"firmware {firmware.id} ({clean(firmware.version)}) is not for {clean(endpoint)}",
                "its model, tag or version is another; say so if it is to get it anyway",
            )

    def _is_for(self, firmware: Firmware, endpoint: str, row: RunningRow | None) -> bool:
        meant = Choice(model=firmware.model, tag=firmware.tag, version=firmware.from_version)
        return self._fits(meant, endpoint, row)

    def _is_chosen(self, row: RunningRow, choice: Choice, firmware: Firmware) -> bool:
        if choice == Choice():
            return self._is_for(firmware, row.endpoint, row)
        return self._fits(choice, row.endpoint, row)

    def _fits(self, choice: Choice, endpoint: str, row: RunningRow | None) -> bool:
        """Whether a device has the model, the tag and the version of a choice."""
        model, version = _told(row)
        return (
            choice.model in ("", model)
            and (not choice.version or same_version(version, (choice.version,)))
            and (not choice.tag or self._store.has_tag(endpoint, choice.tag))
        )

    async def _drop(self, updates: Sequence[FirmwareUpdate]) -> None:
        try:
            await self._updates.drop(updates)
        except StoreError:
            log.info("updates of a stopped campaign not cancelled yet")  # the next tick tries again


def _told(row: RunningRow | None) -> tuple[str, str]:
    """Model and version as a device told them, "" for what it did not."""
    return ("", "") if row is None else (str(row.model or ""), str(row.version or ""))


def _instance_of(registration: Registration | None) -> Path:
    """What an update is asked of where nobody says: 5/0, or the first instance of 33629 alone."""
    if registration is not None and FIRMWARE_UPDATE not in registration.objects:
        advanced = registration.instances.get(ADVANCED_FIRMWARE_UPDATE, ())
        if advanced:
            return Path.of(ADVANCED_FIRMWARE_UPDATE, min(advanced))
    return DEFAULT_INSTANCE


_NO_OBJECT: Final = (
    "its client must be built with object 5 (CONFIG_LWM2M_FIRMWARE_UPDATE_OBJ_SUPPORT in Zephyr)"
)


def _check_object(endpoint: str, registration: Registration, instance: Path | None) -> None:
    """Raises UsageError("object_missing")."""
    wanted = instance or _instance_of(registration)
    if wanted[0] not in registration.objects or (
        registration.instances.get(wanted[0]) and wanted[1] not in registration.instances[wanted[0]]
    ):
        known = [
            f"/{object_id}/{number}"
            for object_id in sorted(registration.objects.keys() & OBJECTS)
            for number in registration.instances.get(object_id, ())
        ]
        raise UsageError(
            "object_missing",
            f"the device {clean(endpoint)} has no Firmware Update instance {wanted}",
            f"name one that it has, or none: {', '.join(known)}" if known else _NO_OBJECT,
        )
