"""Campaigns: a firmware for many devices, some at a time, with an eye on how many fail.

Each device of a campaign has an update of its own, which asks here whether it may begin. What a campaign is
at is on disk; how many of its updates are in each state is counted here as they move.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from ...db.firmware import Campaign, FirmwareUpdate, KeptFirmware
from ...db.migrate import StoreError
from ...db.store import Store
from ...db.writer import when_done
from ...errors import UsageError
from ...events import EventBus
from ...lwm2m.core import Moment
from ...lwm2m.firmware import (
    CAMPAIGN_TRANSITIONS,
    ENDED,
    UNSUCCESSFUL,
    CampaignState,
    CampaignStep,
    Reason,
    UpdateState,
)
from .updates import Updates

# The share of failures is taken of no fewer devices than this, or all there are: one that fails first is not
# a hundred per cent.
SHARE_OF: Final = 10
log = logging.getLogger(__name__)


class Campaigns:
    """Those that have not ended; the gate that updates ask (`updates.Gate`)."""

    def __init__(self, store: Store, bus: EventBus, updates: Updates) -> None:
        self._store = store
        self._bus = bus
        self._updates = updates
        self._live: dict[int, Campaign] = {}
        self._counts: dict[int, Counter[UpdateState]] = {}
        self._untold: set[int] = set()
        # What the disk did not take, to be put down again; also of those that have ended meanwhile.
        self._owed: dict[int, Campaign] = {}

    def start(self, kept: KeptFirmware) -> None:
        """Take up what an earlier run left."""
        for campaign in kept.campaigns:
            self._live[campaign.id] = campaign
            self._counts[campaign.id] = Counter(kept.counts.get(campaign.id, {}))

    # What is known

    def get(self, campaign_id: int) -> Campaign | None:
        """One that has not ended."""
        return self._live.get(campaign_id)

    def counts(self, campaign_id: int) -> Mapping[UpdateState, int]:
        """How many updates of one that has not ended are in each state."""
        return {state: n for state, n in self._counts.get(campaign_id, Counter()).items() if n}

    def uses(self, firmware_id: int) -> bool:
        """Whether a campaign of a firmware has not ended."""
        return any(campaign.firmware_id == firmware_id for campaign in self._live.values())

    # What people do

    def put(self, campaign: Campaign) -> None:
        """Gather a new campaign for the next commit, after which `entered` is to be called."""
        self._store.put_campaign(campaign)

    def entered(self, campaign: Campaign) -> None:
        """A new campaign is on disk; its updates are told of after it."""
        self._live[campaign.id] = campaign
        self._counts[campaign.id] = Counter()
        self._tell(campaign)

    async def steer(self, campaign_id: int, to: CampaignState, now_ms: int) -> Campaign:
        """See `FirmwareBox.steer`."""
        campaign = self._live.get(campaign_id)
        if campaign is None:
            raise UsageError(
                "campaign_ended", f"campaign {campaign_id} has ended, or there is none", "list the campaigns"
            )
        step = _STEPS.get((campaign.state, to))
        if step is None:
            raise UsageError(
                "campaign_unmoved",
                f"campaign {campaign_id} is {campaign.state}, and cannot become {to}",
                "have it PAUSED, RUNNING or STOPPED",
            )
        if step is CampaignStep.RESUME and campaign.starts_ms > now_ms:
            step = CampaignStep.SCHEDULE
        after = _stepped(campaign, step, Reason.ASKED, now_ms)
        if step is CampaignStep.START:  # before its time
            after = replace(after, starts_ms=now_ms)
        self._store.change_campaign(after)
        self._live[campaign_id] = after
        done = self._store.commit()
        # Its last device may have ended meanwhile.
        when_done(
            done,
            lambda: self._tell(after) if self._is_now(after) else None,
            lambda: self._live.update({campaign_id: campaign}) if self._is_now(after) else None,
        )
        await asyncio.shield(done)
        if to is CampaignState.STOPPED:
            with suppress(StoreError):  # the next tick has those that wait dropped
                await self._updates.drop([u for u in self._updates.all() if u.campaign_id == campaign_id])
        return after

    # The gate

    def may_begin(self, update: FirmwareUpdate) -> bool:
        """Whether it is an update's turn."""
        if not update.campaign_id:
            return True
        campaign = self._live.get(update.campaign_id)
        if campaign is None or campaign.state is not CampaignState.RUNNING:
            return False
        return self._updates.led(campaign.id) < campaign.at_once

    def moved(self, before: FirmwareUpdate | None, after: FirmwareUpdate) -> None:
        """An update is new, or has come to another state."""
        number = after.campaign_id
        if number not in self._counts:
            return
        counts = self._counts[number]
        if before is not None:
            counts[before.state] -= 1
        counts[after.state] += 1
        self._untold.add(number)
        if after.done:
            self._judge(self._live[number], after.changed_ms, failed=after.state in UNSUCCESSFUL)

    def astray(self) -> list[FirmwareUpdate]:
        """Updates that wait for a campaign which lets none begin any more: it was stopped."""
        return [
            update
            for update in self._updates.all()
            if update.campaign_id
            and update.state is UpdateState.WAITING
            and not self._goes_on(update.campaign_id)
        ]

    def tick(self, moment: Moment) -> None:
        """Begin what was to begin by now; tell how campaigns stand."""
        for campaign in list(self._live.values()):
            if campaign.state is CampaignState.SCHEDULED and campaign.starts_ms <= moment.wall_ms:
                self._move(campaign, CampaignStep.START, Reason.NONE, moment.wall_ms)
            elif self._over(campaign):
                # The box went down between the end of its last device and its own.
                self._judge(campaign, moment.wall_ms)
        for owed in list(self._owed.values()):
            self._put_down(self._live.get(owed.id, owed))
        untold, self._untold = self._untold, set()
        for number in untold:
            live = self._live.get(number)
            if live is not None:
                self._tell(live)

    # Within

    def _goes_on(self, campaign_id: int) -> bool:
        campaign = self._live.get(campaign_id)
        return campaign is not None and not campaign.done

    def _is_now(self, campaign: Campaign) -> bool:
        return self._live.get(campaign.id) is campaign

    def _judge(self, campaign: Campaign, now_ms: int, *, failed: bool = False) -> None:
        """One of its devices has ended: is that all, or is this one failure too many?

        Who resumes a campaign takes the failures so far: it is the next one that has it pause again.
        """
        counts = self._counts[campaign.id]
        total = counts.total()
        ended = sum(counts[state] for state in ENDED)
        failures = sum(counts[state] for state in UNSUCCESSFUL)
        if self._over(campaign):
            self._move(campaign, CampaignStep.FINISH, Reason.NONE, now_ms)
            return
        judged = ended - counts[UpdateState.CANCELLED]
        share = 100 * failures / max(1, judged, min(SHARE_OF, total))
        if failed and campaign.state is CampaignState.RUNNING and share > campaign.failure_limit:
            log.warning(
                "campaign paused", extra={"CAMPAIGN_ID": campaign.id, "FAILED": failures, "ENDED": ended}
            )
            self._move(campaign, CampaignStep.PAUSE, Reason.FAILURES, now_ms)

    def _move(self, campaign: Campaign, step: CampaignStep, reason: Reason, now_ms: int) -> None:
        """What happens by itself; what the disk does not take is owed to it."""
        if (campaign.state, step) not in CAMPAIGN_TRANSITIONS:
            self._tell(campaign)  # one that was stopped has its last devices come to their end
            self._close(campaign)
            return
        after = _stepped(campaign, step, reason, now_ms)
        self._live[campaign.id] = after
        self._put_down(after)
        self._tell(after)
        self._close(after)

    def _put_down(self, campaign: Campaign) -> None:
        try:
            self._store.change_campaign(campaign)
            done = self._store.commit()
        except StoreError:
            self._owed[campaign.id] = campaign
            return
        self._owed.pop(campaign.id, None)
        when_done(done, lambda: None, lambda: self._owed.update({campaign.id: campaign}))

    def _close(self, campaign: Campaign) -> None:
        """Forget one that has ended, when its last device has."""
        if campaign.id in self._live and campaign.done and self._over(campaign):
            del self._live[campaign.id], self._counts[campaign.id]

    def _over(self, campaign: Campaign) -> bool:
        return all(state in ENDED for state, n in self._counts[campaign.id].items() if n)

    def _tell(self, campaign: Campaign) -> None:
        self._bus.publish(
            "firmware_campaign",
            {
                "id": campaign.id,
                "name": campaign.name,
                "firmware": campaign.firmware_id,
                "state": campaign.state.value,
                "reason": campaign.reason.value,
                "counts": {state.value: n for state, n in self.counts(campaign.id).items()},
                "time_ms": campaign.changed_ms,
            },
            campaign,
        )


_STEPS: Final[Mapping[tuple[CampaignState, CampaignState], CampaignStep]] = {
    (CampaignState.SCHEDULED, CampaignState.RUNNING): CampaignStep.START,
    (CampaignState.SCHEDULED, CampaignState.PAUSED): CampaignStep.PAUSE,
    (CampaignState.SCHEDULED, CampaignState.STOPPED): CampaignStep.STOP,
    (CampaignState.RUNNING, CampaignState.PAUSED): CampaignStep.PAUSE,
    (CampaignState.RUNNING, CampaignState.STOPPED): CampaignStep.STOP,
    (CampaignState.PAUSED, CampaignState.RUNNING): CampaignStep.RESUME,
    (CampaignState.PAUSED, CampaignState.STOPPED): CampaignStep.STOP,
}


def _stepped(campaign: Campaign, step: CampaignStep, reason: Reason, now_ms: int) -> Campaign:
    state = CAMPAIGN_TRANSITIONS[campaign.state, step]
    return replace(campaign, state=state, reason=reason, changed_ms=now_ms)
