"""Who may do what in whose name: every action of every kind of sender, against every kind of name."""

import logging
from dataclasses import dataclass, field
from itertools import product

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.identity import NOTIFY, RULES, Door, Rule, Speaker, speaker_of
from flownexus_appliance.fleet.ports import Action, Sender
from flownexus_appliance.lwm2m.core import Core, Moment, Origin
from flownexus_appliance.lwm2m.registration import RegisteredObject
from flownexus_appliance.lwm2m.requests import ObjectList, RegisterRequest

ADDRESS = "192.0.2.1:5683"
DEEDS = (*Action, NOTIFY)
SENDERS = {
    Speaker.PLAIN: Sender(ADDRESS, ADDRESS),
    Speaker.DEVICE: Sender("dtls-0a", ADDRESS, "one"),
    Speaker.ENROLLING: Sender("dtls-0b", ADDRESS, enrolling=True),
    Speaker.NOBODY: Sender("dtls-0c", ADDRESS),
}
REGISTRATIONS = {"none": None, "plain": "", "secure": "dtls-0a"}


@dataclass(slots=True)
class Names:
    guarded: set[str] = field(default_factory=set)
    enrollable: set[str] = field(default_factory=set)

    def has_any(self, endpoint: str) -> bool:
        return endpoint in self.guarded

    def may_enrol(self, endpoint: str) -> bool:
        return endpoint in self.enrollable

    def endpoints(self) -> int:
        return len(self.guarded)


def register(core: Core, endpoint: str, session: str = "") -> None:
    listed = ObjectList({3: RegisteredObject("", (0,))})
    request = RegisterRequest(endpoint, "1.1", 60, "U", False, listed)
    core.register(request, Origin(ADDRESS, 1, b"t", session), Moment(0.0, 1), bytes(6))


def code_of(door: Door, deed: str, sender: Sender, endpoint: str) -> str:
    """ "" where it is allowed."""
    try:
        door.check(deed, sender, endpoint)
    except PeerError as error:
        return error.code if error.hint else "no hint"
    return ""


def allowed(speaker: Speaker, deed: str, own: bool, guarded: bool, enrollable: bool, secure: bool) -> bool:
    """The rules once more, in other words."""
    bootstrap = deed in (Action.BOOTSTRAP, Action.BOOTSTRAP_PACK)
    if speaker is Speaker.DEVICE:
        return own
    if speaker is Speaker.ENROLLING:
        return bootstrap and enrollable
    if speaker is Speaker.NOBODY or guarded:
        return False
    # Plain CoAP, a free name: what a session began goes on by none but sessions.
    return bootstrap or deed == Action.REGISTER or not secure


@pytest.mark.parametrize(("speaker", "deed"), list(product(Speaker, DEEDS)))
def test_every_sender_and_every_deed(speaker: Speaker, deed: str) -> None:
    cases = product(("one", "other"), (False, True), (False, True), REGISTRATIONS.values())
    for endpoint, guarded, enrollable, session in cases:
        core = Core()
        if session is not None:
            register(core, endpoint, session)
        names = Names({endpoint} if guarded else set(), {endpoint} if enrollable else set())
        code = code_of(Door(core, names), deed, SENDERS[speaker], endpoint)
        good = allowed(speaker, deed, endpoint == "one", guarded, enrollable, bool(session))
        assert code == ("" if good else "identity_refused"), (endpoint, guarded, enrollable, session)


def test_the_table_is_whole() -> None:
    assert set(RULES) == set(product(Speaker, DEEDS))
    assert set(RULES.values()) == set(Rule)


@pytest.mark.parametrize(("speaker", "sender"), SENDERS.items())
def test_the_kinds_of_sender(speaker: Speaker, sender: Sender) -> None:
    assert speaker_of(sender) is speaker


def test_the_enrolment_key_outweighs_a_name() -> None:
    assert speaker_of(Sender("dtls-0a", ADDRESS, "one", enrolling=True)) is Speaker.ENROLLING


def test_a_refusal_is_logged_with_who_and_whom(caplog: pytest.LogCaptureFixture) -> None:
    assert code_of(Door(Core(), Names({"one"})), Action.REGISTER, SENDERS[Speaker.PLAIN], "one")
    (record,) = caplog.records
    assert (record.levelno, record.getMessage()) == (logging.WARNING, "identity refused")
    fields = {name: record.__dict__[name] for name in ("ENDPOINT", "PEER", "ACTION")}
    assert fields == {"ENDPOINT": "one", "PEER": ADDRESS, "ACTION": "register"}


# Names that nobody vouches for


def test_plain_names_are_bounded(caplog: pytest.LogCaptureFixture) -> None:
    core, names = Core(), Names({"guarded"})
    core.know("guarded")
    door = Door(core, names, max_plain=2)
    plain = SENDERS[Speaker.PLAIN]
    for endpoint in ("a", "b"):
        assert code_of(door, Action.REGISTER, plain, endpoint) == ""
        register(core, endpoint)
    assert code_of(door, Action.REGISTER, plain, "c") == "endpoints_full"
    assert code_of(door, Action.REGISTER, plain, "a") == "", "who is known may come back"
    assert code_of(door, Action.BOOTSTRAP, plain, "c") == "", "that makes nobody known"
    assert code_of(door, Action.REGISTER, SENDERS[Speaker.DEVICE], "one") == "", "a session vouches for it"
    (record,) = caplog.records
    assert (record.getMessage(), record.__dict__["LIMIT"]) == ("too many plain endpoints", 2)


def test_no_plain_names_at_all() -> None:
    assert code_of(Door(Core(), Names(), 0), Action.REGISTER, SENDERS[Speaker.PLAIN], "a") == "endpoints_full"
