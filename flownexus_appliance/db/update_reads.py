"""Updates and campaigns as pages and the API ask for them: SQL and rows for `Reader`."""

from dataclasses import dataclass
from typing import Final

from ..lwm2m.firmware import Reason, UpdateState
from .firmware import FirmwareUpdate
from .firmware_rows import CAMPAIGN_IS_ENDED, CAMPAIGNS, IS_ENDED, IS_UNFINISHED, UPDATES

# What these mean as `UpdateQuestion.state`, beside the nine words of `lwm2m.firmware.UpdateState`; the first
# and the second also as the state of campaigns.
UNFINISHED_WORD: Final = "unfinished"
DONE_WORD: Final = "done"
UNSUCCESSFUL_WORD: Final = "unsuccessful"
MOVING_WORD: Final = "moving"

# Each index of states, devices, firmware and campaigns ends with the id, so that whichever finds the rows
# also sorts them; only those that are unfinished or unsuccessful, everybody's of several states, are sorted
# apart, and they are few.
_STATES: Final = {
    UNFINISHED_WORD: IS_UNFINISHED,
    # The plus keeps it from the indexes: most updates are done, so they are found by their ids.
    DONE_WORD: f"+u.{IS_ENDED}",
    UNSUCCESSFUL_WORD: "u.state IN ('FAILED', 'REVERTED')",
    MOVING_WORD: "u.state IN ('PREPARING', 'DOWNLOADING', 'DOWNLOADED', 'UPDATING')",
}
_STATE: Final = "u.state = :state"
_ENDPOINT: Final = "u.endpoint_id = (SELECT id FROM endpoint WHERE name = :endpoint)"
_FIRMWARE: Final = "u.firmware_id = :firmware"
_CAMPAIGN: Final = "u.campaign_id = :campaign"
_REASON: Final = "u.reason = :reason"
_RESULT: Final = "u.result = :result"
_BEFORE: Final = "u.id < :before"
_SEARCH: Final = (
    "instr(lower(e.name || ' ' || e.label || ' ' || u.from_version || ' ' || u.asked_by || ' ' || u.reason"
    " || ' ' || u.detail || ' ' || (SELECT version FROM firmware WHERE id = u.firmware_id)), lower(:search))"
)

UPDATE: Final = f"{UPDATES} WHERE u.id = :id"
LAST: Final = f"""{UPDATES}
    WHERE e.name IN (SELECT value FROM json_each(:names)) AND u.id =
        (SELECT id FROM firmware_update WHERE endpoint_id = e.id ORDER BY id DESC LIMIT 1)
"""
FIRMWARE_COUNTS: Final = (
    "SELECT firmware_id, state, count(*) FROM firmware_update GROUP BY firmware_id, state"
)
# Devices, not updates: one may have been brought to a version again, or have had it already.
FIRMWARE_REACHED: Final = f"""
    SELECT firmware_id, count(DISTINCT endpoint_id) FROM firmware_update
    WHERE state = '{UpdateState.SUCCEEDED}' AND reason <> '{Reason.ALREADY}' GROUP BY firmware_id
"""
# Why updates of a campaign failed, what most failed by first.
FAILURES: Final = """
    SELECT state, reason, result, count(*) AS devices FROM firmware_update
    WHERE campaign_id = :id AND state IN ('FAILED', 'REVERTED')
    GROUP BY state, reason, result ORDER BY devices DESC, reason, result
"""
CAMPAIGN: Final = f"{CAMPAIGNS} WHERE id = :id"
# Campaigns are few.
CAMPAIGNS_PAGE: Final = f"""{CAMPAIGNS}
    WHERE (:before IS NULL OR id < :before) AND CASE :state
        WHEN '' THEN true
        WHEN '{UNFINISHED_WORD}' THEN NOT {CAMPAIGN_IS_ENDED}
        WHEN '{DONE_WORD}' THEN {CAMPAIGN_IS_ENDED}
        ELSE state = :state END
    ORDER BY id DESC
"""


@dataclass(frozen=True, slots=True)
class UpdateQuestion:
    """Which updates: "" and 0 ask for all. `state` is one of `UpdateState`, or unfinished, done,
    unsuccessful, moving (begun, and not done).

    `reason` is one of `lwm2m.firmware.Reason`, and `result` an Update Result, None for any. `search` is
    looked for in the names and labels of devices, in versions, in who asked, and in why it stands where it
    stands. `before_id`: the page behind that update.
    """

    endpoint: str = ""
    firmware_id: int = 0
    campaign_id: int = 0
    state: str = ""
    search: str = ""
    before_id: int | None = None
    reason: str = ""
    result: int | None = None


@dataclass(frozen=True, slots=True)
class ListedUpdate:
    """An update with what its owner calls the device."""

    update: FirmwareUpdate
    label: str

    @property
    def title(self) -> str:
        """What people see of the device: the label, or the name where there is none."""
        return self.label or self.update.endpoint


@dataclass(frozen=True, slots=True)
class Failures:
    """Why so many devices of a campaign failed; `result` is their Update Result, None without one."""

    state: UpdateState
    reason: Reason
    result: int | None
    devices: int


def select_updates(question: UpdateQuestion) -> tuple[str, dict[str, object]]:
    """The statement that answers a question, newest first, and its parameters."""
    # Put together of constants alone: one statement for all questions could use no index.
    conditions = []
    if question.endpoint:
        conditions.append(_ENDPOINT)
    if question.firmware_id:
        conditions.append(_FIRMWARE)
    if question.campaign_id:
        conditions.append(_CAMPAIGN)
    if question.state:
        conditions.append(_STATES.get(question.state, _STATE))
    if question.reason:
        conditions.append(_REASON)
    if question.result is not None:
        conditions.append(_RESULT)
    if question.search:
        conditions.append(_SEARCH)
    if question.before_id is not None:
        conditions.append(_BEFORE)
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"{UPDATES}{where} ORDER BY u.id DESC", {
        "endpoint": question.endpoint,
        "firmware": question.firmware_id,
        "campaign": question.campaign_id,
        "state": question.state,
        "reason": question.reason,
        "result": question.result,
        "search": question.search,
        "before": question.before_id,
    }
