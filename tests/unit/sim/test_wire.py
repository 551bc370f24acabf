"""The message layer: retransmission, deduplication, one exchange at a time, separate responses."""

from random import Random

import pytest

from flownexus_appliance.sim.messages import Code, Message, Type, decode_message, encode_message
from flownexus_appliance.sim.statistics import Statistics
from flownexus_appliance.sim.wire import (
    EXCHANGE_LIFETIME_S,
    MAX_REMEMBERED,
    SEPARATE_RESPONSE_S,
    MessageLayer,
    Outcome,
    Transmission,
)


class Talk:
    """An outgoing message, and what became of it."""

    def __init__(self, message: Message | None) -> None:
        self.message = message
        self.outcome: tuple[Outcome, Message | None] | None = None

    def build(self, now: float) -> Message | None:
        return self.message

    def ended(self, outcome: Outcome, response: Message | None, now: float) -> None:
        assert self.outcome is None, "ended twice"
        self.outcome = (outcome, response)


class Line:
    """A message layer with its wire laid open."""

    def __init__(self, transmission: Transmission | None = None) -> None:
        self.sent: list[bytes] = []
        self.served: list[Message] = []
        self.resets: list[int] = []
        self.statistics = Statistics()
        self.layer = MessageLayer(
            self.sent.append,
            self._serve,
            self.resets.append,
            Random(3),
            self.statistics,
            transmission or Transmission(ack_random_factor=1.0),
        )

    def _serve(self, request: Message, now: float) -> Message:
        self.served.append(request)
        return Message(Code.CONTENT, b"reply %d" % len(self.served))

    def last(self) -> Message:
        return decode_message(self.sent[-1])

    def hear(self, message: Message, now: float = 0.0) -> None:
        self.layer.receive(encode_message(message), now)


def post() -> Talk:
    return Talk(Message(Code.POST, b"x", path=("rd",)))


def notification() -> Talk:
    return Talk(Message(Code.CONTENT, b"x", token=b"watch", observe=1))


def test_unanswered_it_is_sent_five_times_ever_more_slowly_and_then_given_up() -> None:
    line, talk = Line(), post()
    line.layer.submit(talk, 100.0)
    times = [100.0]
    while (deadline := line.layer.deadline) is not None:
        before = len(line.sent)
        line.layer.handle_timer(deadline - 0.001)
        assert len(line.sent) == before, "too early"
        line.layer.handle_timer(deadline)
        if len(line.sent) > before:
            times.append(deadline)
        last = deadline
    # RFC 7252 4.2: the time-out is doubled; 4.8.2: MAX_TRANSMIT_WAIT here is 62 s.
    assert times == [100.0, 102.0, 106.0, 114.0, 130.0]
    assert last == 162.0
    assert len(set(line.sent)) == 1
    assert talk.outcome == (Outcome.TIMEOUT, None)
    assert (line.statistics.retransmissions, line.statistics.timeouts) == (4, 1)


def test_the_first_wait_is_random_within_the_factor() -> None:
    line = Line(Transmission(ack_random_factor=1.5))
    waits = []
    for _ in range(50):
        talk = post()
        line.layer.submit(talk, 0.0)
        assert line.layer.deadline is not None
        waits.append(line.layer.deadline)
        line.hear(Message(Code.EMPTY, type=Type.RST, message_id=line.last().message_id))
    assert 2.0 <= min(waits) < 2.2
    assert 2.8 < max(waits) <= 3.0


def test_a_piggybacked_response_ends_the_exchange() -> None:
    line, talk = Line(), post()
    line.layer.submit(talk, 0.0)
    sent = line.last()
    assert len(sent.token) == 8
    line.hear(Message(Code.CREATED, type=Type.ACK, message_id=sent.message_id, token=sent.token))
    assert talk.outcome is not None
    outcome, response = talk.outcome
    assert outcome is Outcome.ANSWERED
    assert response is not None
    assert response.code == Code.CREATED
    assert line.layer.deadline is None
    assert not line.layer.busy


def test_a_response_under_another_token_or_id_is_not_ours() -> None:
    line, talk = Line(), post()
    line.layer.submit(talk, 0.0)
    sent = line.last()
    line.hear(Message(Code.CREATED, type=Type.ACK, message_id=sent.message_id, token=b"other"))
    line.hear(Message(Code.CREATED, type=Type.ACK, message_id=sent.message_id ^ 1, token=sent.token))
    assert talk.outcome is None


def test_a_separate_response_is_awaited_after_its_empty_acknowledgement() -> None:
    line, talk = Line(), post()
    line.layer.submit(talk, 0.0)
    sent = line.last()
    line.hear(Message(Code.EMPTY, type=Type.ACK, message_id=sent.message_id), 1.0)
    assert line.layer.deadline == 1.0 + SEPARATE_RESPONSE_S
    response = Message(Code.CHANGED, type=Type.CON, message_id=900, token=sent.token)
    line.hear(response, 5.0)
    assert talk.outcome is not None
    assert talk.outcome[0] is Outcome.ANSWERED
    assert (line.last().type, line.last().message_id) == (Type.ACK, 900)
    # Our acknowledgement was lost: it is repeated, not turned into a reset.
    line.hear(response, 7.0)
    assert (len(line.sent), line.last().type) == (3, Type.ACK)


def test_a_separate_response_that_never_comes_is_a_timeout() -> None:
    line, talk = Line(), post()
    line.layer.submit(talk, 0.0)
    line.hear(Message(Code.EMPTY, type=Type.ACK, message_id=line.last().message_id), 1.0)
    line.layer.handle_timer(1.0 + SEPARATE_RESPONSE_S)
    assert talk.outcome == (Outcome.TIMEOUT, None)
    assert len(line.sent) == 1


def test_a_confirmable_response_to_nothing_is_rejected() -> None:
    line = Line()
    line.hear(Message(Code.CONTENT, type=Type.CON, message_id=5, token=b"stale"))
    assert (line.last().type, line.last().code, line.last().message_id) == (Type.RST, Code.EMPTY, 5)


def test_one_exchange_at_a_time_in_order_the_urgent_first() -> None:
    line = Line()
    first, second, urgent = notification(), notification(), post()
    for talk in (first, second):
        line.layer.submit(talk, 0.0)
    line.layer.submit(urgent, 0.0, urgent=True)
    assert len(line.sent) == 1
    line.hear(Message(Code.EMPTY, type=Type.ACK, message_id=line.last().message_id))
    assert first.outcome == (Outcome.ACKNOWLEDGED, None)
    assert line.last().code == Code.POST
    assert second.outcome is None


def test_what_has_nothing_to_say_any_more_is_passed_over() -> None:
    line = Line()
    withdrawn, next_one = Talk(None), notification()
    line.layer.submit(withdrawn, 0.0)
    assert line.sent == []
    line.layer.submit(next_one, 0.0)
    assert line.last().token == b"watch"
    assert withdrawn.outcome is None


def test_a_reset_ends_a_notification() -> None:
    line, talk = Line(), notification()
    line.layer.submit(talk, 0.0)
    line.hear(Message(Code.EMPTY, type=Type.RST, message_id=line.last().message_id))
    assert talk.outcome == (Outcome.RESET, None)
    assert line.resets == []


def test_a_reset_of_an_unconfirmed_message_is_told_by_its_id() -> None:
    line = Line()
    message_id = line.layer.send_unconfirmed(Message(Code.CONTENT, b"x", token=b"watch"))
    assert line.last().type is Type.NON
    line.hear(Message(Code.EMPTY, type=Type.RST, message_id=message_id))
    assert line.resets == [message_id]


def test_a_repeated_request_is_served_once_and_answered_twice() -> None:
    line = Line()
    request = Message(Code.POST, type=Type.CON, message_id=40, token=b"t", path=("3", "0", "4"))
    line.hear(request, 0.0)
    line.hear(request, 60.0)
    assert len(line.served) == 1
    assert line.sent[0] == line.sent[1]
    assert line.statistics.duplicates == 1
    # After EXCHANGE_LIFETIME the id may be used anew.
    line.hear(request, EXCHANGE_LIFETIME_S)
    assert len(line.served) == 2


def test_an_unconfirmed_request_gets_an_unconfirmed_response_once() -> None:
    line = Line()
    request = Message(Code.GET, type=Type.NON, message_id=41, token=b"t", path=("3",))
    line.hear(request)
    line.hear(request)
    assert (len(line.served), len(line.sent), line.last().type) == (1, 1, Type.NON)
    assert line.last().token == b"t"


def test_the_memory_of_requests_is_bounded() -> None:
    line = Line()
    for number in range(MAX_REMEMBERED + 1):
        line.hear(Message(Code.GET, type=Type.CON, message_id=number, token=b"t"))
    line.hear(Message(Code.GET, type=Type.CON, message_id=1, token=b"t"))
    assert line.statistics.duplicates == 1
    line.hear(Message(Code.GET, type=Type.CON, message_id=0, token=b"t"))
    assert len(line.served) == MAX_REMEMBERED + 2


def test_a_ping_is_answered_by_a_reset() -> None:
    line = Line()
    line.hear(Message(Code.EMPTY, type=Type.CON, message_id=77))
    assert (line.last().type, line.last().message_id) == (Type.RST, 77)
    assert line.served == []


@pytest.mark.parametrize("data", [b"", b"\x40", b"\xff" * 40, b"\x40\x01\x00\x01\xf0"])
def test_garbage_is_counted_and_dropped(data: bytes) -> None:
    line = Line()
    line.layer.receive(data, 0.0)
    assert (line.statistics.unreadable, line.sent, line.served) == (1, [], [])


def test_a_reboot_forgets_everything() -> None:
    line, talk = Line(), post()
    line.layer.submit(talk, 0.0)
    line.layer.submit(post(), 0.0)
    line.layer.forget_all()
    assert line.layer.deadline is None
    assert not line.layer.busy
    assert talk.outcome is None
