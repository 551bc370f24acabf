"""How long a Queue Mode device listens: as configured or its own, and never to the very end of it."""

from math import inf

import pytest

from flownexus_appliance.lwm2m.core import SURELY_AWAKE_S, WINDOW_END_S, Core, Moment
from flownexus_appliance.lwm2m.presence import AWAKE_WINDOW_S, Presence
from flownexus_appliance.lwm2m.requests import UpdateRequest

from .test_core import at, known, register, registration


def queue_mode(window_s: float | None = None, configured_s: float = AWAKE_WINDOW_S) -> Core:
    core = Core(configured_s)
    register(core, "b=U", "Q")
    known(core).awake_window_s = window_s
    return core


@pytest.mark.parametrize(
    ("window_s", "configured_s", "lasts_s", "end_s"),
    [
        (None, AWAKE_WINDOW_S, AWAKE_WINDOW_S, WINDOW_END_S),
        (None, 30.0, 30.0, WINDOW_END_S),
        (20.0, AWAKE_WINDOW_S, 20.0, WINDOW_END_S),
        (300.0, 10.0, 300.0, WINDOW_END_S),
        (10.0, AWAKE_WINDOW_S, 10.0, 1.0),
        (1.0, AWAKE_WINDOW_S, 1.0, 0.1),
    ],
)
def test_it_listens_for_its_window_but_for_the_end(
    window_s: float | None, configured_s: float, lasts_s: float, end_s: float
) -> None:
    core = queue_mode(window_s, configured_s)
    assert core.window(known(core)) == lasts_s
    assert core.listens_for("a", 0.0) == lasts_s
    assert core.listens_for("a", lasts_s / 2) == lasts_s / 2
    just_before = lasts_s - end_s - 0.01
    assert core.listens_for("a", just_before) == pytest.approx(end_s + 0.01)
    assert core.listens_for("a", lasts_s - end_s + 0.01) == 0.0
    assert core.listens_for("a", lasts_s + 1) == 0.0


def test_each_message_opens_it_anew() -> None:
    core = queue_mode(20.0)
    core.heard(known(core), at(15))
    assert core.listens_for("a", 16.0) == 19.0


def test_the_window_closes_by_its_own_length() -> None:
    core = queue_mode(20.0)
    core.tick(at(19.9))
    assert known(core).presence is Presence.ONLINE
    core.tick(at(20))
    assert known(core).presence is Presence.SLEEPING
    assert core.listens_for("a", 1.0) == 0.0, "who sleeps does not listen, whatever the time"
    core.heard(known(core), at(21))
    assert core.listens_for("a", 21.0) == 20.0


def test_a_1_0_device_in_queue_mode_has_one_too() -> None:
    core = Core()
    register(core, "b=UQ", version="1.0")
    assert core.listens_for("a", 1.0) == AWAKE_WINDOW_S - 1
    core.update(registration_id(core), UpdateRequest(binding="U"), "x", at(2))
    assert core.listens_for("a", 1000.0) == inf, "b=U ends it"


def registration_id(core: Core) -> str:
    registered = known(core).registration
    assert registered is not None
    return registered.id


def test_who_is_not_in_queue_mode_listens_until_it_is_silent() -> None:
    core = Core()
    register(core)
    assert core.listens_for("a", 1e9) == inf
    core.unanswered("a", 1.0)
    assert core.listens_for("a", 2.0) == 0.0
    core.heard(known(core), at(3))
    assert core.listens_for("a", 3.0) == inf


def test_who_is_not_there_does_not_listen() -> None:
    core = Core()
    assert core.listens_for("a", 0.0) == 0.0
    core.know("a")
    assert core.listens_for("a", 0.0) == 0.0
    effects = register(core)
    core.deregister(registration(effects).id, Moment(1.0, 1))
    assert core.listens_for("a", 1.0) == 0.0


def test_a_restart_knows_the_window_and_waits_for_a_word() -> None:
    before = Core()
    kept = registration(register(before, "b=U", "Q"))
    core = Core()
    core.restore([kept], [], {"a": 1, "b": 2}, {"a": 20.0, "gone": 5.0})
    assert (known(core).awake_window_s, known(core, "b").awake_window_s) == (20.0, None)
    assert core.device("gone") is None
    assert core.listens_for("a", 0.0) == 0.0
    core.heard(known(core), at(5))
    assert core.listens_for("a", 5.0) == 20.0


def test_a_window_outlives_a_register() -> None:
    core = queue_mode(20.0)
    register(core, "b=U", "Q", message_id=2, now=5.0)
    assert core.listens_for("a", 5.0) == 20.0


def test_one_that_was_found_deaf_is_not_asked_so_late_again() -> None:
    """A client tells its window to nobody: Zephyr's is 20 s in some builds and 93 s in others."""
    core = queue_mode()
    core.unanswered("a", 30.0)
    assert core.window(known(core)) == AWAKE_WINDOW_S, "once may have been a lost datagram"
    core.heard(known(core), at(100))
    core.unanswered("a", 125.0)
    core.heard(known(core), at(200))
    assert core.window(known(core)) == 30.0, "no shorter than both say"
    assert core.listens_for("a", 201.0) == 29.0
    core.unanswered("a", 210.0)
    core.heard(known(core), at(300))
    assert core.window(known(core)) == 25.0
    core.unanswered("a", 360.0)
    assert core.window(known(core)) == 25.0, "no longer than it was found to be"
    register(core, "b=U", "Q")
    assert core.window(known(core)) == AWAKE_WINDOW_S, "it may be another firmware now"


def test_silence_right_after_it_spoke_says_nothing_of_its_window() -> None:
    core = queue_mode()
    for _ in range(3):
        core.unanswered("a", SURELY_AWAKE_S - 0.1)
    assert core.window(known(core)) == AWAKE_WINDOW_S


def test_what_is_set_for_it_counts_more_than_what_was_found() -> None:
    core = queue_mode(60.0)
    for _ in range(3):
        core.unanswered("a", 30.0)
    assert core.window(known(core)) == 60.0


def test_an_answer_that_came_meanwhile_is_no_deafness() -> None:
    core = queue_mode()
    core.heard(known(core), at(31))
    for _ in range(3):
        core.unanswered("a", 30.0)
    assert core.window(known(core)) == AWAKE_WINDOW_S


def test_who_is_not_in_queue_mode_teaches_nothing() -> None:
    core = Core()
    register(core)
    core.unanswered("a", 21.0)
    assert known(core).deaf_after_s is None
