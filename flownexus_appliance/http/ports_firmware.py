"""What the web side needs of firmware updates, as types; met by `fleet/firmware/`, as `ports.py` says.

Called in the event loop. Changes are on disk when they return, and raise StoreError when they are not.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from ..db.firmware import Campaign, Firmware, FirmwareUpdate

# What can be asked is defined where it is checked; it belongs to these doors all the same.
from ..fleet.firmware.facts import FirmwareFacts as FirmwareFacts
from ..fleet.firmware.plans import Begun as Begun
from ..fleet.firmware.plans import CampaignPlan as CampaignPlan
from ..fleet.firmware.plans import Choice as Choice
from ..fleet.firmware.plans import LeftOut as LeftOut
from ..fleet.firmware.plans import Wish as Wish
from ..fleet.firmware.upload import Upload as Upload
from ..fleet.ports import Body, Packages
from ..lwm2m.firmware import CampaignState, UpdateState


class FirmwareBox(Protocol):
    """The packages, their updates and campaigns."""

    def upload(self) -> AbstractAsyncContextManager[Upload]:
        """Begin to take a package; leaving the context throws away what was not added."""

    async def add(self, upload: Upload, facts: FirmwareFacts, by: str) -> Firmware:
        """Keep an uploaded package.

        UsageError: package_empty, package_truncated, package_corrupt, version_missing, version_invalid,
        file_name_invalid, note_invalid, target_invalid, firmware_known; ApplianceError: package_unwritable.
        """

    def doubts(self, firmware: Firmware) -> Sequence[str]:
        """What is odd about a package, as words: version_mismatch, unsigned, no_image."""

    def all(self) -> Sequence[Firmware]:
        """The newest first."""

    def get(self, firmware_id: int) -> Firmware:
        """UsageError("firmware_unknown")."""

    async def change(self, firmware_id: int, facts: FirmwareFacts) -> Firmware:
        """Say other things of a package; its file name stays. UsageError as `add`, firmware_unknown."""

    async def remove(self, firmware_id: int) -> None:
        """Take a package away, with what is remembered of its updates and campaigns.

        UsageError: firmware_unknown, firmware_in_use (an update or campaign of it has not ended).
        """

    def body(self, firmware_id: int) -> Body:
        """A package, to be read. UsageError("firmware_unknown"); PackageGone."""

    @property
    def packages(self) -> Packages:
        """What devices fetch, by ticket."""

    # Updates

    async def check(self, endpoint: str, firmware: Firmware, wish: Wish) -> None:
        """Whether a device may be given a firmware now. UsageError: endpoint_unknown, endpoint_unseen,
        object_missing, firmware_not_for, update_under_way, delivery_closed."""

    async def update(self, endpoint: str, firmware_id: int, wish: Wish, by: str) -> FirmwareUpdate:
        """Give a device a firmware. UsageError as `check`, firmware_unknown."""

    def under_way(self, endpoint: str) -> FirmwareUpdate | None:
        """A device's update that has not ended: the one that has begun, else the one that waits longest."""

    def live(self, update_id: int) -> FirmwareUpdate | None:
        """An update that has not ended, as it stands this moment; the file is a few seconds behind."""

    async def cancel(self, update_id: int) -> FirmwareUpdate:
        """End an update; the device is told to forget the package where it listens.

        UsageError: update_unknown, update_done, update_installing (the device is installing: nothing can
        stop it).
        """

    # Campaigns

    async def begin(self, plan: CampaignPlan, by: str) -> Begun:
        """Make a campaign. UsageError: firmware_unknown, campaign_empty, campaign_name_invalid,
        at_once_invalid, failure_limit_invalid, start_invalid, delivery_closed; of devices that are named:
        endpoint_unknown, object_missing, ..., as `check`."""

    async def preview(self, plan: CampaignPlan) -> tuple[tuple[str, ...], tuple[LeftOut, ...]]:
        """The devices that a campaign would have, and those it would leave out. UsageError as `begin`."""

    def campaign(self, campaign_id: int) -> Campaign | None:
        """A campaign that has not ended, as it stands this moment."""

    def counts(self, campaign_id: int) -> Mapping[UpdateState, int]:
        """How many updates of a campaign that has not ended are in each state."""

    async def steer(self, campaign_id: int, to: CampaignState) -> Campaign:
        """Have it PAUSED, RUNNING (resume, or start before its time) or STOPPED.

        UsageError: campaign_unknown, campaign_ended, campaign_unmoved (it stands there already).
        """
