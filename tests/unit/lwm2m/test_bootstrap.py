"""A bootstrap step by step against scripted answers: the state machine, formats, refusals."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m import codecs
from flownexus_appliance.lwm2m.bootstrap import (
    BOOTSTRAP_TRANSITIONS,
    Ask,
    BootstrapEvent,
    BootstrapRequest,
    BootstrapSession,
    BootstrapState,
    Taken,
    parse_bootstrap_request,
)
from flownexus_appliance.lwm2m.bootstrap_config import BootstrapConfig
from flownexus_appliance.lwm2m.bootstrap_plan import CertificateMaterial, Material, Operation, PskMaterial
from flownexus_appliance.lwm2m.content_formats import ContentFormat
from flownexus_appliance.lwm2m.paths import Path
from flownexus_appliance.lwm2m.values import DataType, Record
from tests.box import models

URI = "coaps://192.0.2.1:5684"
PSK = PskMaterial(b"one", b"k" * 16)
LARGE = CertificateMaterial(b"C" * 460, b"K" * 138, b"R" * 450)
ZEPHYR = b'lwm2m="1.1",</0/0>'
Rule = Callable[[Ask], str | tuple[str, int, bytes] | None]


@dataclass
class Device:
    """Answers 2.04 or 2.02, and what `rule` says else; keeps what it was asked."""

    rule: Rule = lambda ask: None
    discovered: bytes = ZEPHYR
    asked: list[Ask] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)

    def play(self, session: BootstrapSession, material: Material = PSK) -> BootstrapState:
        while True:
            while (ask := session.ask()) is not None:
                self.asked.append(ask)
                taken = session.answered(*self._answer(ask))
                if taken is not None:
                    self.taken.append(taken)
            if not session.wants_material:
                return session.state
            session.equip(material, URI)

    def _answer(self, ask: Ask) -> tuple[str, int | None, bytes]:
        said = self.rule(ask)
        if isinstance(said, tuple):
            return said
        if said is not None:
            return said, None, b"no"
        match ask.operation:
            case Operation.DISCOVER:
                return "2.05", ContentFormat.LINK, self.discovered
            case Operation.READ:
                return "2.05", 112, b"\x80"
            case Operation.DELETE:
                return "2.02", None, b""
            case _:
                return "2.04", None, b""

    @property
    def steps(self) -> list[str]:
        return [
            f"{ask.operation.value} {ask.path}"
            + ("" if ask.content_format is None else f" {int(ask.content_format)}")
            for ask in self.asked
        ]


def session(
    pct: int | None = None, config: BootstrapConfig | None = None, discovers: bool = True
) -> BootstrapSession:
    return BootstrapSession(config or BootstrapConfig(), BootstrapRequest(pct, discovers), models().type_of)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ((), BootstrapRequest(None, False)),
        (("ep=one",), BootstrapRequest(None, False)),
        (("ep=one", "pct=112"), BootstrapRequest(112, True)),
        (("ep=one", "pct=110"), BootstrapRequest(110, True)),
        (("ep=one", "pct=11542"), BootstrapRequest(11542, True)),
        (("ep=one", "pct=60"), BootstrapRequest(None, True)),
        (("ep=one", "pct=x", "more=1"), BootstrapRequest(None, True)),
        (("ep=one", "pct="), BootstrapRequest(None, True)),
    ],
)
def test_the_query_tells_format_and_version(query: tuple[str, ...], expected: BootstrapRequest) -> None:
    assert parse_bootstrap_request(query) == expected


def test_a_repeated_parameter_is_refused() -> None:
    with pytest.raises(PeerError) as caught:
        parse_bootstrap_request(("pct=112", "pct=110"))
    assert caught.value.code == "query_invalid"


def test_a_client_of_1_0_is_written_in_tlv_and_not_asked() -> None:
    device = Device()
    assert device.play(session(discovers=False)) is BootstrapState.FINISHED
    assert device.steps == ["delete /0", "delete /1", "write /0/1 11542", "write /1/0 11542", "finish /"]


@pytest.mark.parametrize("pct", [110, 112, 11542, 11543, 11544])
def test_a_client_of_1_1_is_written_in_what_it_prefers(pct: int) -> None:
    device = Device()
    assert device.play(session(pct)) is BootstrapState.FINISHED
    assert device.steps == [
        "discover /",
        "delete /0",
        "delete /1",
        f"write /0/1 {pct}",
        f"write /1/0 {pct}",
        "finish /",
    ]
    assert device.asked[0].accept == ContentFormat.LINK
    for ask in device.asked:
        if ask.operation is Operation.WRITE and ask.path[0] == 0:
            records = codecs.decode(pct, ask.payload, base=ask.path, types=models().type_of, now_ms=0)
            found = {record.path[2]: record.value for record in records}
            assert found == {0: URI, 1: False, 2: 0, 3: b"one", 4: b"", 5: b"k" * 16, 10: 1}


def test_the_operators_format_goes_before_the_clients() -> None:
    device = Device()
    device.play(session(112, BootstrapConfig(content_format=11542)))
    assert "write /0/1 11542" in device.steps


@pytest.mark.parametrize("code", ["4.15", "4.06"])
def test_a_client_that_cannot_read_tlv_is_written_in_another_format_from_then_on(code: str) -> None:
    """Zephyr built without TLV: 4.15, or 4.06."""
    device = Device(lambda ask: code if ask.content_format == 11542 else None)
    assert device.play(session(discovers=False)) is BootstrapState.FINISHED
    assert device.steps[2:] == ["write /0/1 11542", "write /0/1 112", "write /1/0 112", "finish /"]
    assert [taken.ok for taken in device.taken] == [True] * 5


def test_a_key_in_senml_json_that_is_misread_goes_in_another_format() -> None:
    """wakaama reads the other base64 alphabet and answers 4.00; elsewhere 4.00 is the end."""
    device = Device(lambda ask: "4.00" if ask.content_format == 110 else None)
    assert device.play(session(110)) is BootstrapState.FINISHED
    assert device.steps[3:] == ["write /0/1 110", "write /0/1 11542", "write /1/0 11542", "finish /"]
    strict = Device(lambda ask: "4.00" if ask.operation is Operation.WRITE else None)
    assert strict.play(session(112)) is BootstrapState.FAILED
    assert strict.steps[3:] == ["write /0/1 112"]


def test_every_format_is_tried_once_before_it_has_failed() -> None:
    device = Device(lambda ask: "4.15" if ask.path == Path((0, 1)) else None)
    last = session(110)
    assert device.play(last) is BootstrapState.FAILED
    assert [step for step in device.steps if step.startswith("write")] == [
        f"write /0/1 {number}" for number in (110, 11542, 112, 11544, 11543)
    ]
    assert last.reason == "write /0/1 was answered 4.15 no"


def test_a_resource_no_format_fits_does_not_change_the_format() -> None:
    device = Device(lambda ask: "4.15" if ask.path == Path((1, 0, 2)) else None)
    extra = BootstrapConfig(default_pmin_s=5, writes={Path((3, 0, 15)): "UTC"})
    assert device.play(session(112, extra)) is BootstrapState.FINISHED
    assert device.steps[-2:] == ["write /3/0/15 112", "finish /"]


def test_every_resource_may_have_every_format() -> None:
    wanted = {Path((0, 1)): 110, Path((1, 0)): 11542}
    device = Device(
        lambda ask: "4.15" if ask.content_format != wanted.get(ask.path, ask.content_format) else None
    )
    assert device.play(session(discovers=False)) is BootstrapState.FINISHED
    assert device.steps[2:-1] == [
        *(f"write /0/1 {number}" for number in (11542, 112, 110)),
        *(f"write /1/0 {number}" for number in (110, 11544, 11543, 11542)),
    ]


def test_large_keys_go_as_they_are_or_else_in_a_format() -> None:
    device = Device()
    assert device.play(session(112), LARGE) is BootstrapState.FINISHED
    keys = {str(ask.path): ask for ask in device.asked if ask.content_format == 42}
    assert {path: ask.payload for path, ask in keys.items()} == {
        "/0/1/3": LARGE.certificate,
        "/0/1/4": LARGE.root,
        "/0/1/5": LARGE.key,
    }
    choosy = Device(lambda ask: "4.15" if ask.content_format == 42 else None)
    assert choosy.play(session(112), LARGE) is BootstrapState.FINISHED
    again = next(ask for ask in choosy.asked if ask.path == Path((0, 1, 3)) and ask.content_format == 112)
    records = codecs.decode(112, again.payload, base=again.path, types=models().type_of, now_ms=0)
    assert [record.value for record in records] == [LARGE.certificate]


@pytest.mark.parametrize(
    ("refused", "state"),
    [
        ("discover /", BootstrapState.FINISHED),
        ("delete /0", BootstrapState.FINISHED),
        ("delete /1", BootstrapState.FINISHED),
        ("write /0/1", BootstrapState.FAILED),
        ("write /1/0", BootstrapState.FAILED),
        ("write /1/0/3", BootstrapState.FINISHED),
        ("write /3/0/15", BootstrapState.FINISHED),
        ("finish /", BootstrapState.FAILED),
    ],
)
def test_what_a_refusal_means(refused: str, state: BootstrapState) -> None:
    config = BootstrapConfig(default_pmax_s=60, writes={Path((3, 0, 15)): "UTC"})
    device = Device(lambda ask: "4.05" if f"{ask.operation.value} {ask.path}" == refused else None)
    under_way = session(112, config)
    assert device.play(under_way) is state
    assert [f"{t.operation.value} {t.path}" for t in device.taken if not t.ok] == [refused]
    assert bool(under_way.reason) is (state is BootstrapState.FAILED)
    if state is BootstrapState.FAILED:
        assert f"{refused} was answered 4.05" in under_way.reason
        assert device.steps[-1].startswith(refused)  # and nothing was asked after it


def test_a_discover_that_cannot_be_read_counts_as_none() -> None:
    device = Device(discovered=b"<<<")
    assert device.play(session(112)) is BootstrapState.FINISHED
    assert "write /0/1 112" in device.steps
    assert not device.taken[0].ok
    assert device.taken[0].message


def test_the_discovered_place_of_the_bootstrap_account_is_not_written() -> None:
    device = Device(discovered=b"</>;lwm2m=1.1,</0/1>,</0/0>;ssid=4")
    device.play(session(112))
    assert "write /0/0 112" in device.steps
    assert "write /0/1 112" not in device.steps
    assert [link.target for link in device.taken[0].links] == ["/", "/0/1", "/0/0"]


def test_reading_is_for_information_and_needs_no_success() -> None:
    config = BootstrapConfig(read=(Path((1,)), Path((2,))))
    answer = codecs.encode(112, [Record(Path((1, 0, 0)), 5, DataType.INTEGER)], base=Path((1,)))

    def rule(ask: Ask) -> str | tuple[str, int, bytes] | None:
        if ask.operation is not Operation.READ:
            return None
        return ("2.05", 112, answer) if ask.path == Path((1,)) else "4.04"

    device = Device(rule)
    assert device.play(session(112, config)) is BootstrapState.FINISHED
    assert device.steps[:4] == ["discover /", "read /1", "read /2", "delete /0"]
    assert [(str(r.path), r.value) for r in device.taken[1].records] == [("/1/0/0", 5)]
    assert (device.taken[2].ok, device.taken[2].code) == (False, "4.04")


def test_after_a_failure_nothing_more_is_asked() -> None:
    under_way = session(112)
    assert under_way.ask() is not None
    under_way.fail("it did not answer")
    assert under_way.ask() is None
    assert not under_way.wants_material
    assert (under_way.state, under_way.reason) == (BootstrapState.FAILED, "it did not answer")


def test_the_table_leads_from_every_state_to_an_end_and_never_back() -> None:
    order = list(BootstrapState)
    ends = {BootstrapState.FINISHED, BootstrapState.FAILED}
    for (before, event), after in BOOTSTRAP_TRANSITIONS.items():
        assert before not in ends
        assert order.index(after) >= order.index(before)
        assert (event is BootstrapEvent.FAIL) is (after is BootstrapState.FAILED)
    assert {before for before, event in BOOTSTRAP_TRANSITIONS if event is BootstrapEvent.FAIL} == set(
        BootstrapState
    ) - ends


def test_an_answer_after_the_end_is_a_defect_of_ours() -> None:
    device = Device()
    over = session(112)
    device.play(over)
    with pytest.raises(KeyError):
        over.fail("too late")


def test_no_repr_shows_a_key() -> None:
    device = Device()
    device.play(session(112), LARGE)
    assert "KKKK" not in repr(device.asked)
    assert "KKKK" not in repr(device.taken)
