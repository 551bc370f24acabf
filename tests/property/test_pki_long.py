"""Whatever is asked of the box's authority, at whatever time its clock shows: the folder loads, keys are
closed, and whoever knows a trusted root accepts what the servers send.
"""

import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from flownexus_appliance.errors import UsageError
from flownexus_appliance.pki.authority import Authority
from flownexus_appliance.pki.names import ServerNames
from flownexus_appliance.pki.roots import MAX_TRUSTED
from flownexus_appliance.pki.upkeep import Change
from tests.unit.pki.house import DAY, ENDPOINT, NOW, YEAR, loaded, open_keys, parse
from tests.unit.pki.verify import accepted

HOSTS = ("attic", "cellar")
spans = st.sampled_from((timedelta(seconds=1), DAY, 61 * DAY, 100 * DAY, YEAR, 4 * YEAR, 18 * YEAR))
overlaps = st.sampled_from((timedelta(seconds=1), 30 * DAY, YEAR, 20 * YEAR))


class TheAuthority(RuleBasedStateMachine):
    """One box over the years, with a clock that also runs back, and restarts at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Path(tempfile.mkdtemp())
        self.folder = self.state / "pki"
        self.authority = Authority(self.folder)
        self.now = NOW
        self.host = HOSTS[0]
        self.served_at = NOW  # when the certificates were last looked after

    def teardown(self) -> None:
        shutil.rmtree(self.state)

    @initialize()
    def start(self) -> None:
        self.authority.load()
        self.ensure()

    @rule(span=spans)
    def time_passes(self, span: timedelta) -> None:
        self.now = min(self.now + span, NOW + 45 * YEAR)

    @rule(span=spans)
    def the_clock_runs_back(self, span: timedelta) -> None:
        self.now = max(self.now - span, NOW)

    @rule()
    def restart(self) -> None:
        self.authority = loaded(self.folder)

    @rule()
    def ensure(self) -> None:
        self._did(self.authority.ensure(ServerNames.of(self.host), self.now))
        assert self.authority.ensure(ServerNames.of(self.host), self.now) == ()

    @rule(host=st.sampled_from(HOSTS))
    def another_name(self, host: str) -> None:
        self.host = host
        self.ensure()

    @rule()
    def rotate(self) -> None:
        self.ensure()
        self._did(self.authority.rotate_now(self.now, ServerNames.of(self.host)))

    @rule(overlap=overlaps)
    def roll_over(self, overlap: timedelta) -> None:
        before = self.authority.roots()
        refusal = self._try(lambda: self.authority.roll_over(self.now, overlap))
        if refusal:
            assert (refusal, len(before)) == ("roll_over_limit", MAX_TRUSTED)
            assert self.authority.roots() == before
        else:
            assert self.authority.newest_root not in before

    @rule()
    def finish(self) -> None:
        self.ensure()
        rolling = len(self.authority.roots()) > 1
        refusal = self._try(lambda: self.authority.finish_roll_over(self.now))
        assert refusal == ("" if rolling else "roll_over_none")
        assert len(self.authority.roots()) == 1

    def _try(self, act: Callable[[], tuple[Change, ...]]) -> str:
        try:
            self._did(act())
        except UsageError as error:
            return error.code
        return ""

    def _did(self, changes: tuple[Change, ...]) -> None:
        self.served_at = self.now
        assert all(change.message.endswith(".") for change in changes)

    @invariant()
    def the_folder_loads_to_the_same(self) -> None:
        again = loaded(self.folder)
        assert again.roots() == self.authority.roots()
        if self.authority.ready:
            assert again.dtls_chain() == self.authority.dtls_chain()
            assert again.https_files() == self.authority.https_files()
            assert again.describe(self.now) == self.authority.describe(self.now)
        assert not self.folder.exists() or open_keys(self.folder) == []

    @invariant()
    def every_trusted_root_leads_to_the_server(self) -> None:
        for root in self.authority.roots():
            chain = self.authority.dtls_chain().certificates
            assert accepted([root], chain, self.served_at, f"{self.host}.local")
            assert sum(map(len, chain)) < 2048

    @invariant()
    def the_newest_root_signs_devices(self) -> None:
        roots = self.authority.roots()
        assert len(roots) <= MAX_TRUSTED
        if roots and self.now < parse(roots[0]).not_valid_after_utc - DAY:
            made = self.authority.issue(ENDPOINT, self.now, DAY)
            assert self.authority.accepted_until(made.certificate) == made.not_after


TestTheAuthority = TheAuthority.TestCase
TestTheAuthority.settings = settings(settings.get_profile("shared"), max_examples=400, stateful_step_count=25)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    made = Authority(tmp_path_factory.mktemp("state") / "pki")
    made.load()
    made.ensure(ServerNames.of("box"), NOW)
    return made


@given(content=st.binary(max_size=600))
def test_no_bytes_are_a_request_or_break_the_reader(authority: Authority, content: bytes) -> None:
    with pytest.raises(UsageError) as caught:
        authority.issue_for(ENDPOINT, content, NOW)
    assert caught.value.code.startswith("request_")
    assert authority.accepted_until(content) is None
