"""`flownexus sim`: what its words make of the firmware of the devices, and the packages it writes."""

import argparse
from pathlib import Path

import pytest

from flownexus_appliance.cli.main import main, make_parser
from flownexus_appliance.cli.sim import _firmware, add_to
from flownexus_appliance.lwm2m.firmware import DeliveryMethod, Protocol
from flownexus_appliance.lwm2m.mcuboot import inspect
from flownexus_appliance.sim.firmware_options import AS_SOLD, FirmwareOptions, Outcome
from flownexus_appliance.sim.options import SimOptions

TEXT = (Path(__file__).parents[3] / "docs" / "simulator.md").read_text(encoding="utf-8")


def _parser_of_sim() -> argparse.ArgumentParser:
    commands = argparse.ArgumentParser().add_subparsers()
    add_to(commands)
    found = commands.choices["sim"]
    assert isinstance(found, argparse.ArgumentParser)
    return found


def firmware(*words: str) -> FirmwareOptions:
    return _firmware(make_parser().parse_args(["sim", *words]), SimOptions())


def test_without_a_word_it_is_as_sold() -> None:
    assert firmware() == AS_SOLD


def test_every_word_has_its_effect() -> None:
    found = firmware(
        *("--firmware-version", "0.9", "--firmware-object", "both", "--firmware-method", "pull"),
        *("--firmware-pull", "coap,https", "--firmware-block", "64", "--firmware-push-block", "128"),
        *("--firmware-max", "1M", "--firmware-persist", "--firmware-credential", "bootstrap"),
        *("--https-ca", "ca.pem", "--update-seconds", "0.5", "--no-update-new-port"),
        *("--firmware-block-seconds", "0.1"),
        *("--update-outcome", "slow", "--update-outcome", "sim-0002=gone"),
    )
    assert (found.version, found.objects, found.method) == ("0.9", (5, 33629), DeliveryMethod.PULL)
    assert found.pull == (Protocol.COAP, Protocol.HTTPS)
    assert (found.block_size, found.push_block_size, found.max_size) == (64, 128, 1 << 20)
    assert (found.persistent, found.first_credential, found.new_port) == (True, True, False)
    assert (found.https_ca, found.update_s, found.block_s) == ("ca.pem", 0.5, 0.1)
    assert [found.outcome_of(i) for i in range(2)] == [Outcome.SLOW, Outcome.GONE]
    assert firmware("--firmware-object", "none").objects == ()


def test_a_package_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "new.bin"
    assert main(["sim", "--make-package", "1.2.0+7", str(file), "--package-size", "3k"]) == 0
    data = file.read_bytes()
    found = inspect(lambda offset, size: data[offset : offset + size], len(data))
    assert found is not None
    assert (found.version, found.size, found.checked) == ("1.2.0+7", 3072, True)
    told = capsys.readouterr().out
    assert "1.2.0+7" in told
    assert "3072 bytes" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--make-package", "one", "FILE"), "not a version"),
        (("--make-package", "1.0.0", "missing/FILE"), "cannot write"),
        (("--make-package", "1.0.0", "FILE", "--package-size", "large"), "no size"),
        (("--make-package", "1.0.0", "FILE", "--package-size", "9"), "no package of 9 bytes"),
        (("--update-outcome", "never"), "no update ends with never"),
        (("--firmware-pull", "ftp"), "cannot be fetched by ftp"),
        (("--firmware-max", "1T"), "no size"),
        (("--firmware-block", "8"), "16 to 1024"),
        (("--https-ca", "FILE"), "FILE"),
    ],
)
def test_what_cannot_be_is_said(
    words: tuple[str, ...],
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["sim", *words]) != 0
    assert told in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_every_outcome_and_every_word_about_firmware_is_described() -> None:
    missing = [outcome.value for outcome in Outcome if f"`{outcome.value}`" not in TEXT]
    parser = _parser_of_sim()
    group = next(group for group in parser._action_groups if group.title == "firmware")
    options = [text for action in group._group_actions for text in action.option_strings]
    assert "--update-outcome" in options
    # Of a switch that is on the one that turns it off is described.
    missing += [text for text in options if text not in TEXT and f"--no-{text[2:]}" not in TEXT]
    assert missing == []
