"""Bodies put together from blocks, without a wire."""

import pytest

from flownexus_appliance.coap import blocks
from flownexus_appliance.coap.blocks import KEPT_S, MAX_BODY, Bodies
from flownexus_appliance.errors import PeerError

A, B, C, END = b"a" * 16, b"b" * 16, b"c" * 16, b"end"


def feed(
    bodies: Bodies, number: int, payload: bytes, *, more: bool = True, key: str = "k", now: float = 0.0
) -> bytes | None:
    return bodies.take(key, number, more, 0, payload, now)


def code_of(bodies: Bodies, number: int, more: bool, exponent: int, payload: bytes) -> str:
    with pytest.raises(PeerError) as raised:
        bodies.take("k", number, more, exponent, payload, 0.0)
    return raised.value.code


def test_blocks_in_order_make_the_body() -> None:
    bodies = Bodies()
    assert feed(bodies, 0, A) is None
    assert feed(bodies, 1, B) is None
    assert feed(bodies, 2, END, more=False) == A + B + END


def test_a_body_of_one_block() -> None:
    assert feed(Bodies(), 0, b"", more=False) == b""
    assert feed(Bodies(), 0, END, more=False) == END


def test_bodies_do_not_mix() -> None:
    bodies = Bodies()
    feed(bodies, 0, A, key="one")
    feed(bodies, 0, B, key="two")
    assert feed(bodies, 1, END, more=False, key="one") == A + END
    assert feed(bodies, 1, END, more=False, key="two") == B + END


def test_the_last_block_again_gives_the_body_again() -> None:
    """Its answer was lost, or held back because the disk did not take the commit."""
    bodies = Bodies()
    feed(bodies, 0, A)
    assert feed(bodies, 1, END, more=False) == A + END
    assert feed(bodies, 1, END, more=False) == A + END


def test_a_block_again_changes_nothing() -> None:
    bodies = Bodies()
    feed(bodies, 0, A)
    feed(bodies, 1, B)
    assert feed(bodies, 1, B) is None
    assert feed(bodies, 2, END, more=False) == A + B + END


def test_block_0_begins_anew() -> None:
    bodies = Bodies()
    feed(bodies, 0, A)
    feed(bodies, 1, B)
    feed(bodies, 0, C)
    assert code_of(bodies, 2, True, 0, B) == "block_missing"
    assert feed(bodies, 1, END, more=False) == C + END


def test_another_block_in_its_place_ends_what_followed() -> None:
    bodies = Bodies()
    for number, payload in enumerate((A, B, C)):
        feed(bodies, number, payload)
    feed(bodies, 1, C)
    assert code_of(bodies, 3, True, 0, A) == "block_missing"
    assert feed(bodies, 2, END, more=False) == A + C + END


def test_a_shorter_body_after_a_longer_one() -> None:
    bodies = Bodies()
    feed(bodies, 0, A)
    feed(bodies, 1, B)
    assert feed(bodies, 2, END, more=False) == A + B + END
    feed(bodies, 0, A)
    assert feed(bodies, 1, B[:4], more=False) == A + B[:4]


def test_a_block_without_those_before_it() -> None:
    bodies = Bodies()
    assert code_of(bodies, 1, False, 0, END) == "block_missing"
    feed(bodies, 0, A)
    assert code_of(bodies, 2, True, 0, B) == "block_missing"
    assert feed(bodies, 1, END, more=False) == A + END


@pytest.mark.parametrize(
    ("more", "exponent", "payload"),
    [
        (True, 0, b"a" * 15),
        (True, 0, b"a" * 17),
        (False, 0, b"a" * 17),
        (True, 7, b"a" * 2048),
        (False, 7, b"a"),
    ],
)
def test_blocks_that_are_not_their_size(more: bool, exponent: int, payload: bytes) -> None:
    """RFC 7959 2.2: SZX 7 is reserved and must lead to 4.00."""
    assert code_of(Bodies(), 0, more, exponent, payload) == "block_invalid"


def test_a_body_too_large() -> None:
    bodies = Bodies()
    last = MAX_BODY // 1024
    for number in range(last):
        assert bodies.take("k", number, True, 6, b"a" * 1024, 0.0) is None
    assert code_of(bodies, last, False, 6, b"a") == "body_too_large"
    assert len(bodies) == 0
    assert code_of(bodies, 2**20 - 1, True, 6, b"a" * 1024) == "body_too_large"


def test_a_body_of_the_largest_size() -> None:
    bodies = Bodies()
    last = MAX_BODY // 1024 - 1
    for number in range(last):
        bodies.take("k", number, True, 6, b"a" * 1024, 0.0)
    assert bodies.take("k", last, False, 6, b"a" * 1024, 0.0) == b"a" * MAX_BODY


def test_a_smaller_block_size_half_way() -> None:
    bodies = Bodies()
    bodies.take("k", 0, True, 1, A + B, 0.0)
    assert bodies.take("k", 2, False, 0, C, 0.0) == A + B + C


def test_what_nobody_goes_on_with_is_forgotten() -> None:
    bodies = Bodies()
    for number in range(10):
        feed(bodies, 0, A, key=f"gone-{number}")
    feed(bodies, 0, A, key="late", now=KEPT_S)
    assert len(bodies) == 11
    feed(bodies, 0, A, key="later", now=KEPT_S + 0.1)
    assert len(bodies) == 2


def test_when_full_the_longest_idle_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = Bodies()
    monkeypatch.setattr(blocks, "MAX_BODIES", 3)
    for key in ("one", "two", "three"):
        feed(bodies, 0, A, key=key)
    feed(bodies, 1, B, key="one")
    feed(bodies, 0, A, key="four")
    assert len(bodies) == 3
    assert feed(bodies, 2, END, more=False, key="one") == A + B + END
    with pytest.raises(PeerError):
        feed(bodies, 1, B, key="two")


def test_memory_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = Bodies()
    monkeypatch.setattr(blocks, "MAX_BYTES", 64)
    for number in range(100):
        feed(bodies, 0, A, key=f"k{number}")
    assert len(bodies) == 4
    for _ in range(8):
        feed(bodies, 0, A, key="k99")
        feed(bodies, 1, A, key="k99")
    assert feed(bodies, 0, A, key="k98") is None
    assert len(bodies) == 3
