"""Guessing gets slow, for a bounded time, by account and by address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.access import throttle as throttle_module
from flownexus_appliance.access.throttle import (
    ACCOUNT_CAP_S,
    ADDRESS_CAP_S,
    FORGET_S,
    FREE,
    NETWORK_CAP_S,
    NETWORK_FREE,
    SignInThrottled,
    Throttle,
    network,
)


class Time:
    def __init__(self) -> None:
        self.now = 1000.0
        self.throttle = Throttle(lambda: self.now)

    def wait_s(self, address: str, account: str | None = None) -> int:
        """For how long an attempt has to wait; it counts where it has not."""
        try:
            self.throttle.begin(address, account)
        except SignInThrottled as error:
            return error.wait_s
        return 0


@pytest.fixture
def time() -> Time:
    return Time()


def test_an_account_waits_longer_each_time_and_a_minute_at_most(time: Time) -> None:
    delays = []
    for number in range(FREE + 9):
        assert time.wait_s(f"10.1.{number}.1", "anna") == 0
        delays.append(max(0.0, time.throttle._accounts.wait_s("anna", time.now)))
        time.now += delays[-1]
    assert delays == [0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert ACCOUNT_CAP_S == 60


def test_an_address_waits_longer_each_time_and_a_quarter_of_an_hour_at_most(time: Time) -> None:
    delays = []
    for number in range(FREE + 12):
        assert time.wait_s("192.0.2.1", f"user{number}") == 0
        wait_s = time.wait_s("192.0.2.1", None) if number >= FREE else 0
        delays.append(wait_s)
        time.now += wait_s
    assert delays == [0, 0, 0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]
    assert ADDRESS_CAP_S == 900


def test_a_machine_does_not_keep_out_those_who_share_its_network(time: Time) -> None:
    for number in range(100):
        time.now += time.wait_s("2001:db8::bad", f"user{number}")
    assert time.wait_s("2001:db8::bad") > NETWORK_CAP_S
    time.now += NETWORK_CAP_S
    assert time.wait_s("2001:db8::1", "anna") == 0
    assert time.wait_s("192.0.2.1", "anna") == 0


def test_a_machine_with_all_addresses_of_a_network_gets_slow(time: Time) -> None:
    delays = []
    for number in range(NETWORK_FREE + 9):
        assert time.wait_s(f"2001:db8::{number:x}") == 0
        delays.append(time.wait_s("2001:db8::bad") if number >= NETWORK_FREE else 0)
        time.now += delays[-1]
    assert delays == [0] * NETWORK_FREE + [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert time.wait_s("2001:db8:0:1::1") == 0


def test_an_attempt_that_has_to_wait_does_not_count(time: Time) -> None:
    for _ in range(FREE + 1):
        assert time.wait_s("192.0.2.1", "anna") == 0
    for _ in range(100):
        assert time.wait_s("192.0.2.1", "anna") == 1
    time.now += 1
    assert time.wait_s("192.0.2.1", "anna") == 0
    assert time.wait_s("192.0.2.1", "anna") == 2


def test_what_went_right_forgives_both_and_nobody_else(time: Time) -> None:
    for _ in range(FREE + 1):
        time.wait_s("192.0.2.1", "anna")
        time.wait_s("192.0.2.2", "otto")
    assert time.wait_s("192.0.2.1", None) == time.wait_s("192.0.2.9", "anna") == 1
    time.throttle.forgive("192.0.2.1", "anna")
    assert time.wait_s("192.0.2.1", "anna") == 0
    assert time.wait_s("192.0.2.9", "otto") == 1
    time.throttle.forgive_account("otto")
    assert time.wait_s("192.0.2.9", "otto") == 0
    assert time.wait_s("192.0.2.2", "nora") == 1


def test_who_is_quiet_for_hours_begins_anew(time: Time) -> None:
    for _ in range(40):
        time.now += time.wait_s("192.0.2.1", "anna")
    time.now += FORGET_S
    assert [time.wait_s("192.0.2.1", "anna") for _ in range(FREE + 2)] == [0] * (FREE + 1) + [1]
    assert FORGET_S > ADDRESS_CAP_S


def test_memory_is_bounded_and_the_longest_quiet_goes(monkeypatch: pytest.MonkeyPatch, time: Time) -> None:
    monkeypatch.setattr(throttle_module, "MAX_KEYS", 10)
    for _ in range(FREE + 1):
        time.wait_s("192.0.2.1", "anna")
    for number in range(9):
        time.wait_s(f"10.0.{number}.1", f"user{number}")
    assert time.wait_s("192.0.2.1", "nora") == 1
    # One more mistake, and it is not the one that was quiet for longest.
    time.now += 1
    assert time.wait_s("192.0.2.1", "anna") == 0
    time.wait_s("10.9.9.9", "user9")
    assert time.wait_s("192.0.2.1", "nora") == time.wait_s("192.0.2.9", "anna") == 2
    for number in range(1000):
        time.wait_s(f"10.{number // 250}.{number % 250}.2", f"other{number}")
    assert len(time.throttle._addresses._known) == len(time.throttle._accounts._known) == 10
    assert time.wait_s("192.0.2.1", "anna") == 0


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%wlan0", True),
        ("", "unix:", True),
        ("", "192.0.2.1", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network(one) == network(other)) is same


attempts = st.tuples(
    st.floats(0, 2000),
    st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
    st.sampled_from("ab"),
    st.booleans(),
)


@given(st.lists(attempts, max_size=60))
def test_whatever_happens_waits_are_bounded_and_the_owner_gets_in(
    steps: list[tuple[float, str, str, bool]],
) -> None:
    time = Time()
    mistakes: dict[str, int] = {}
    for pause_s, address, account, good in steps:
        time.now += pause_s
        wait_s = time.wait_s(address, account)
        assert 0 <= wait_s <= ADDRESS_CAP_S
        if wait_s:
            # Nobody waits who made no mistakes to speak of, at the address or with the account.
            assert max(mistakes.get(address, 0), mistakes.get(account, 0)) > FREE
            continue
        for key in (address, account):
            mistakes[key] = 0 if good else mistakes.get(key, 0) + 1
        if good:
            time.throttle.forgive(address, account)
    # From an address that has guessed nothing, everybody waits for a minute at most.
    assert all(time.wait_s("198.51.100.1", account) <= ACCOUNT_CAP_S for account in "ab")
    time.now += ADDRESS_CAP_S
    assert time.wait_s("192.0.2.1", "a") == 0
