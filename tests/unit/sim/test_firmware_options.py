"""What may be said of the firmware of simulated devices, and what may not."""

from dataclasses import replace

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.firmware import DeliveryMethod, Protocol, UpdateResult
from flownexus_appliance.sim.firmware_options import (
    AS_SOLD,
    RESULTS,
    FirmwareOptions,
    Outcome,
    read_outcomes,
    read_pulls,
)
from flownexus_appliance.sim.options import SimOptions


def test_every_outcome_with_a_result_says_so() -> None:
    told = {outcome: int(outcome.value[-1]) for outcome in Outcome if outcome.startswith("result-")}
    assert sorted(told.values()) == list(range(2, 10))
    assert {outcome: int(RESULTS[outcome]) for outcome in told} == told


def test_an_outcome_is_by_the_index_of_a_device() -> None:
    by_mapping = FirmwareOptions(outcome={1: Outcome.GONE})
    assert [by_mapping.outcome_of(i) for i in range(3)] == [Outcome.SUCCESS, Outcome.GONE, Outcome.SUCCESS]
    by_call = FirmwareOptions(outcome=lambda index: Outcome.REVERT if index == 2 else Outcome.SLOW)
    assert [by_call.outcome_of(i) for i in (1, 2)] == [Outcome.SLOW, Outcome.REVERT]
    assert AS_SOLD.outcome_of(7) is Outcome.SUCCESS


def test_outcomes_are_read() -> None:
    name = SimOptions().name
    in_turn = read_outcomes(["success, result-4,gone"], name)
    assert [in_turn(i) for i in range(4)] == ["success", "result-4", "gone", "success"]
    by_name = read_outcomes(["slow", "sim-000[12]=revert", "sim-0002=stall"], name)
    assert [by_name(i) for i in range(3)] == ["revert", "stall", "slow"]


@pytest.mark.parametrize("text", ["", "result-1", "sim-1=", "success,", "SUCCESS"])
def test_outcomes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_outcomes([text], SimOptions().name)
    assert caught.value.code == "outcome_unknown"
    assert "unconfirmed" in caught.value.hint


def test_protocols_are_read() -> None:
    assert read_pulls("https, coap,https") == (Protocol.HTTPS, Protocol.COAP)
    for text in ("", "ftp", "coap,ftp"):
        with pytest.raises(UsageError) as caught:
            read_pulls(text)
        assert caught.value.code == "protocol_unknown"


def test_what_a_device_fetches_by() -> None:
    assert AS_SOLD.protocols(secure=False) == (Protocol.COAP,)
    assert AS_SOLD.protocols(secure=True) == (Protocol.COAPS,)
    assert replace(AS_SOLD, pull=(Protocol.HTTPS,)).protocols(secure=True) == (Protocol.HTTPS,)
    assert replace(AS_SOLD, method=DeliveryMethod.PUSH).protocols(secure=True) == ()


@pytest.mark.parametrize(
    "options",
    [
        FirmwareOptions(version=""),
        FirmwareOptions(version="1\n"),
        FirmwareOptions(version="1" * 65),
        FirmwareOptions(objects=(3,)),
        FirmwareOptions(pull=(Protocol.COAP_TCP,)),
        FirmwareOptions(block_size=8),
        FirmwareOptions(block_size=2048),
        FirmwareOptions(push_block_size=0),
        FirmwareOptions(update_s=-1),
        FirmwareOptions(block_s=-1),
        FirmwareOptions(https_wait_s=-1),
        FirmwareOptions(https_threads=0),
        FirmwareOptions(https_tries=-1),
        FirmwareOptions(max_size=0),
        FirmwareOptions(revert_result=UpdateResult.SUCCESS),
    ],
)
def test_what_cannot_be(options: FirmwareOptions) -> None:
    with pytest.raises(UsageError) as caught:
        SimOptions(firmware=options).check()
    assert caught.value.code == "sim_options_invalid"
