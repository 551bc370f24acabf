"""The documents keep up with the code: settings, routes, figures and commands are all described."""

import re
from collections.abc import Iterator
from pathlib import Path

from flownexus_appliance.http import api
from flownexus_appliance.lwm2m.firmware import (
    TRANSITIONS,
    CampaignState,
    Delivery,
    Reason,
    Step,
    UpdateResult,
    UpdateState,
)
from flownexus_appliance.system.config import describe

ROOT = Path(__file__).parents[2]


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def rows(name: str) -> Iterator[list[str]]:
    """The cells of every table row of a document."""
    for line in text_of(name).splitlines():
        if line.startswith("|") and not line.startswith("|---"):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def test_every_setting_is_described_with_its_default() -> None:
    described: dict[tuple[str, str], str] = {}
    section = ""
    for line in text_of("docs/configuration.md").splitlines():
        section = line.removeprefix("## ").strip("[]") if line.startswith("## ") else section
        if line.startswith("| `"):
            name, default, _ = line.strip("|").split(" | ", 2)
            described[section, name.strip(" `")] = default.strip(" `")
    settings = {(group, name): value for group, name, value, *_ in describe()}
    assert set(described) == set(settings)
    for setting, value in settings.items():
        if isinstance(value, bool):
            assert described[setting] == str(value).lower(), setting
        elif isinstance(value, (int, float, str)):
            shown = f"{value:g}" if isinstance(value, float) else str(value) or "nothing"
            assert described[setting] == shown, setting


def test_every_route_of_the_api_is_described() -> None:
    routes = {f"{route.method} {route.template}" for route in api.routes()}
    described = {cells[0].strip("`") for cells in rows("docs/api.md")} - {"route"}
    assert described == routes


def test_every_measured_figure_is_described() -> None:
    described = {cells[0].strip("`") for cells in rows("docs/benchmarks.md")} - {"name"}
    measured: set[str] = set()
    for source in (ROOT / "benchmarks").glob("*.py"):
        measured |= set(re.findall(r'Figure\(\s*"([a-z0-9_]+)"', source.read_text(encoding="utf-8")))
    assert described == measured


def test_the_way_of_an_update_is_described() -> None:
    """The table's last column has the state machine, but for what goes without saying."""
    described: dict[str, set[str]] = {}
    for cells in rows("docs/firmware.md"):
        if len(cells) == 3 and cells[0].strip("`") in set(UpdateState):
            described[cells[0].strip("`")] = set(re.findall(r"`([A-Z]+)`", cells[2]))
    assert set(described) == set(UpdateState)
    everywhere = {Step.FAIL, Step.CANCEL}
    led: dict[str, set[str]] = {state: set() for state in UpdateState}
    for (state, step), after in TRANSITIONS.items():
        if step not in everywhere:
            led[state].add(after)
    assert described == led


def test_every_word_of_firmware_updates_is_described() -> None:
    described = {cells[0].strip("`") for cells in rows("docs/firmware.md")}
    assert described >= set(Delivery) | set(CampaignState) | {str(int(result)) for result in UpdateResult}
    assert described >= set(Reason) - {Reason.NONE}
    known = set(Delivery) | set(CampaignState) | set(UpdateState) | set(Reason)
    words = {word for word in described if re.fullmatch("[a-z_]+|[A-Z]+", word)}
    assert words - known == {"state", "reason"}


def test_every_document_that_is_named_is_there() -> None:
    for document in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name} links {target}"


def test_every_make_target_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    for name in ("README.md", "docs/development.md", "docs/benchmarks.md"):
        for target in re.findall(r"\bmake ([a-z-]+)\b", text_of(name)):
            assert target in targets, f"{name} names make {target}"
