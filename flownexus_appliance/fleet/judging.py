"""What a try makes of an operation: the device's answer, the lack of one, or what went wrong on our side.

What must not happen twice (Execute, Create) is never tried again because an answer was lost.
"""

import logging
from typing import Final, NamedTuple

from ..db.migrate import StoreError
from ..db.operations import EndpointOperation, Outcome
from ..errors import ApplianceError, UsageError
from ..lwm2m.operations import AT_MOST_ONCE, MAX_ATTEMPTS, Kind, Operation, Step
from .ports import DeviceSilent
from .requests import Answered

# RFC 7252 5.9.3.4, RFC 8516: the device says that later may be better.
_LATER: Final = frozenset({"5.03", "4.29"})
_NOT_FOUND: Final = "4.04"
_UNKNOWN_OUTCOME: Final = "nobody knows whether the device has done it"
_ASK_AGAIN: Final = "look at the device, and retry the operation if it has not"
log = logging.getLogger(__name__)


class Try(NamedTuple):
    """What a try makes of an operation; whether the device was asked at all, and whether the disk failed."""

    step: Step
    outcome: Outcome
    sent: bool = True
    stalled: bool = False


def judge(answered: Answered, sending: EndpointOperation) -> Try:
    """What an answer makes of an operation."""
    outcome = Outcome(
        answered.code, answered.records, answered.links, answered.location, message=answered.message
    )
    gone = sending.operation.kind is Kind.CANCEL and answered.code == _NOT_FOUND
    if answered.success or gone:  # a device that does not have the observation has ended it
        return Try(Step.ACCEPT, outcome)
    if answered.code in _LATER and sending.attempts < MAX_ATTEMPTS:
        return Try(Step.POSTPONE, outcome)
    return Try(Step.REFUSE, outcome)


def judge_error(error: BaseException, sending: EndpointOperation) -> Try:
    """What the lack of an answer, or one that cannot be used, makes of an operation."""
    operation = sending.operation
    if not isinstance(error, ApplianceError):
        log.error("operation failed", exc_info=error, extra={"OPERATION_ID": sending.id})
        failure = Outcome(message="something went wrong in the appliance", hint="the log tells what")
        return Try(Step.REFUSE, failure)
    outcome = Outcome(message=error.message, hint=error.hint)
    if isinstance(error, DeviceSilent):
        if not error.sent:
            return Try(Step.POSTPONE, outcome, sent=False)
        last = operation.kind in AT_MOST_ONCE or sending.attempts >= MAX_ATTEMPTS
        outcome = unanswered(error.message, operation, error.hint)
        return Try(Step.REFUSE if last else Step.POSTPONE, outcome)
    if isinstance(error, StoreError) and operation.kind not in AT_MOST_ONCE:
        # An observation that could not be kept is not asked for; a value that could not be, is again.
        return Try(Step.POSTPONE, outcome, sent=False, stalled=True)
    if error.code == "endpoint_offline":
        return Try(Step.POSTPONE, outcome, sent=False)
    return Try(Step.REFUSE, outcome, sent=not isinstance(error, UsageError))


def unanswered(message: str, operation: Operation, hint: str = "") -> Outcome:
    """What is known of an operation that was sent and not answered."""
    if operation.kind in AT_MOST_ONCE:
        return Outcome(message=f"{message}: {_UNKNOWN_OUTCOME}", hint=_ASK_AGAIN)
    return Outcome(message=message, hint=hint)
