"""`flownexus device`: what it gives, lists, shows and takes away."""

import io
import json
import shlex
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flownexus_appliance.cli import given
from flownexus_appliance.db.credentials import CredentialState
from flownexus_appliance.errors import UsageError
from tests.unit.http.house import QUIET, SENSOR, SLEEPER, STRANGE, Outcome

from .conftest import Box
from .scripted import KITCHEN, Terminal
from .scripted import device as kitchen

KEY = "00112233445566778899aabbccddeeff"


async def test_a_key_is_made_and_told_once(box: Box) -> None:
    said = await box.run("device", "add", "kitchen")
    (made,) = box.credentials.known
    assert said.code == 0
    assert said.out == (
        "Name      kitchen\n"
        "Server    coaps://192.0.2.1:5684\n"
        "Identity  kitchen\n"
        f"Key       {made.secret.hex()}\n"
    )
    assert "only now" in said.err
    shown = await box.run("device", "show", "kitchen", "--json")
    assert made.secret.hex() not in shown.out


async def test_a_key_is_brought_along(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    said = await box.run("device", "add", "a", "--psk", "--identity", "b", "--key", KEY, "--label", "l")
    assert said.code == 0
    (made,) = box.credentials.known
    assert (made.secret.hex(), made.proof.value, made.label) == (KEY, b"b", "l")
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{KEY}\n"))
    said = await box.run("device", "add", "c", "--key", "-", "--json")
    assert said.data["psk"]["key"] == KEY


async def test_a_certificate_is_made(box: Box) -> None:
    said = await box.run("device", "add", "valve", "--cert", "--days", "30")
    assert said.code == 0
    certificate, root = x509.load_pem_x509_certificates(said.out.encode())
    certificate.verify_directly_issued_by(root)
    key = serialization.load_pem_private_key(said.out[said.out.index("-----BEGIN PRIVATE") :].encode(), None)
    assert key.public_key() == certificate.public_key()
    assert "only now" in said.err


async def test_a_certificate_goes_into_a_folder(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "valve"
    said = await box.run("device", "add", "valve", "--cert", "--out", str(folder), "--for", "leshan")
    assert said.code == 0, said.err
    names = {path.name for path in folder.iterdir()}
    parts = {f"{part}.{ending}" for part in ("certificate", "private-key", "ca") for ending in ("pem", "der")}
    assert names == parts | {"leshan.sh"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    der = (folder / "certificate.der").read_bytes()
    assert der == box.credentials.known[0].certificate
    assert ssl.PEM_cert_to_DER_cert((folder / "certificate.pem").read_text()) == der
    assert (folder / "ca.der").read_bytes() == box.certificates.roots()[0]
    pem = serialization.load_pem_private_key((folder / "private-key.pem").read_bytes(), None)
    key = serialization.load_der_private_key((folder / "private-key.der").read_bytes(), None)
    assert pem.private_numbers() == key.private_numbers()  # type: ignore[union-attr]
    words = shlex.split((folder / "leshan.sh").read_text())
    assert words[words.index("-cprik") + 1] == str(folder / "private-key.der")
    assert "PRIVATE" not in said.out + said.err


async def test_the_devices_own_key_is_certified(box: Box, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "valve")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    file = tmp_path / "request.pem"
    file.write_bytes(request.public_bytes(serialization.Encoding.PEM))
    said = await box.run("device", "add", "valve", "--csr", str(file), "--json")
    assert said.code == 0
    assert said.data["certificate"]["private_key"] == ""
    folder = tmp_path / "out"
    said = await box.run(
        "device", "add", "valve", "--csr", str(file), "--out", str(folder), "--for", "openssl"
    )
    assert said.code == 0
    assert not (folder / "private-key.pem").exists()
    assert "KEY-OF-THE-REQUEST.pem" in (folder / "openssl.sh").read_text()


async def test_json_beside_files_holds_no_key(box: Box, tmp_path: Path) -> None:
    folder = tmp_path / "a"
    said = await box.run("device", "add", "a", "--out", str(folder), "--json")
    assert said.data["files"] == [str(folder / "psk.txt")]
    assert said.data["credential"]["endpoint"] == "a"
    secret = box.credentials.known[0].secret.hex()
    assert secret not in said.out
    assert f"Key       {secret}" in (folder / "psk.txt").read_text()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        (
            "anjay",
            ["--identity", STRANGE.encode().hex(), "--endpoint-name", STRANGE, "--security-mode", "psk"],
        ),
        ("leshan", ["-i", STRANGE, "-n", STRANGE, "-u", "coaps://192.0.2.1:5684"]),
        ("openssl", ["-psk_identity", STRANGE, "-connect", "192.0.2.1:5684", "-dtls1_2"]),
    ],
)
async def test_a_command_for_a_client(box: Box, form: str, words: list[str]) -> None:
    said = await box.run("device", "add", STRANGE, "--for", form)
    found = shlex.split(said.out)
    for word in words:
        assert word in found
    assert found[found.index(words[0]) + 1] == words[1]
    assert box.credentials.known[0].secret.hex() in found


async def test_what_a_form_cannot_carry_is_told_all_the_same(box: Box, tmp_path: Path) -> None:
    said = await box.run("device", "add", "a", "--key", KEY, "--for", "coap-client")
    assert said.code == 0
    assert f"Key       {KEY}\n" in said.out
    folder = tmp_path / "b"
    said = await box.run(
        "device", "add", "b", "--identity", 'quo"te', "--for", "nrf-at", "--out", str(folder), "--json"
    )
    assert said.data["files"] == [str(folder / "psk.txt")]
    assert box.credentials.known[1].secret.hex() in (folder / "psk.txt").read_text()


async def test_variables_for_a_shell(box: Box) -> None:
    said = await box.run("device", "add", STRANGE, "--for", "env")
    values = dict(line.split("=", 1) for line in said.out.splitlines())
    assert {name: shlex.split(value)[0] for name, value in values.items()} == {
        "FLOWNEXUS_ENDPOINT": STRANGE,
        "FLOWNEXUS_URI": "coaps://192.0.2.1:5684",
        "FLOWNEXUS_PSK_IDENTITY": STRANGE,
        "FLOWNEXUS_PSK_IDENTITY_HEX": STRANGE.encode().hex(),
        "FLOWNEXUS_PSK_KEY": box.credentials.known[0].secret.hex(),
    }


async def test_settings_for_zephyr(box: Box) -> None:
    said = await box.run("device", "add", 'a"b\\', "--for", "zephyr-kconfig")
    assert 'CONFIG_NET_SAMPLE_LWM2M_ID="a\\"b\\\\"\n' in said.out
    assert 'CONFIG_NET_SAMPLE_LWM2M_SERVER="coaps://192.0.2.1:5684"\n' in said.out
    assert f'CONFIG_NET_SAMPLE_LWM2M_PSK="{box.credentials.known[0].secret.hex()}"\n' in said.out
    assert "CONFIG_LWM2M_SECURITY_KEY_SIZE=32\n" in said.out
    assert "takes the name for the identity" not in said.out
    said = await box.run("device", "add", "c", "--identity", "i" * 40, "--for", "zephyr-kconfig")
    assert "takes the name for the identity" in said.out
    assert "CONFIG_LWM2M_SECURITY_KEY_SIZE=40\n" in said.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--cert", "--key", KEY], "options_conflict"),
        (["--cert", "--identity", "a"], "options_conflict"),
        (["--csr", "none.pem", "--psk"], "options_conflict"),
        (["--days", "3"], "options_conflict"),
        (["--csr", "none.pem"], "file_unusable"),
        (["--cert", "--for", "wakaama"], "form_unsuitable"),
        (["--cert", "--for", "zephyr-kconfig"], "folder_needed"),
        (["--cert", "--for", "anjay"], "folder_needed"),
        (["--cert", "--for", "env"], "folder_needed"),
        (["--out", "/proc/none"], "file_unusable"),
    ],
)
async def test_what_cannot_be_told_is_not_made(box: Box, words: list[str], error: str) -> None:
    said = await box.run("device", "add", "a", *words, "--json")
    assert said.code == 2
    assert said.out == ""
    assert json.loads(said.err)["error"] == error
    assert json.loads(said.err)["hint"]
    assert box.credentials.known == []


async def test_nothing_in_a_folder_is_overwritten(box: Box, tmp_path: Path) -> None:
    (tmp_path / "device.env").write_text("mine")
    said = await box.run("device", "add", "a", "--out", str(tmp_path), "--for", "env")
    assert said.code == 2
    assert "is not empty" in said.err
    assert box.credentials.known == []


def test_what_could_not_be_written_is_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {
        "credential": {"endpoint": "a"},
        "psk": {"identity": "a", "identity_hex": "61", "key": KEY},
        "certificate": None,
        "uris": ["coaps://box:5684"],
    }
    with pytest.raises(UsageError) as caught:
        given.write(answer, None, tmp_path / "gone")
    assert caught.value.code == "file_unusable"
    assert KEY in capsys.readouterr().out
    assert KEY not in str(caught.value)


async def test_the_daemons_no_is_told(box: Box) -> None:
    assert (await box.run("device", "add", "a")).code == 0
    said = await box.run("device", "add", "b", "--identity", "a")
    assert said.code == 1
    assert said.out == ""
    assert said.err == "flownexus: another device has this identity\n  hint: choose another one\n"


async def test_devices_are_listed(box: Box) -> None:
    await box.run("device", "add", SENSOR)
    await box.run("device", "add", SENSOR, "--cert")
    said = await box.run("device", "list")
    lines = said.out.splitlines()
    assert lines[0].split() == ["NAME", "STATE", "CREDENTIALS", "LAST", "SEEN", "LABEL", "TAGS"]
    row = next(line for line in lines if line.startswith(SENSOR))
    assert "online" in row
    assert "1 certificate, 1 psk" in row
    assert row.endswith("Greenhouse")
    assert len(lines) == 5
    said = await box.run("device", "list", "--json", "--presence", "sleeping")
    assert [(one["endpoint"], one["credentials"]) for one in said.data] == [(SLEEPER, {})]
    said = await box.run("device", "list", "--json", "--search", "green")
    assert [(one["endpoint"], one["credentials"]) for one in said.data] == [
        (SENSOR, {"psk": 1, "certificate": 1})
    ]


async def test_a_list_of_several_pages_is_whole(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flownexus_appliance.cli.console.PAGE", 1)
    for name in (SENSOR, SLEEPER, STRANGE):
        await box.run("device", "add", name)
    said = await box.run("device", "list", "--json")
    assert {one["endpoint"]: one["credentials"] for one in said.data} == {
        SENSOR: {"psk": 1},
        SLEEPER: {"psk": 1},
        STRANGE: {"psk": 1},
        QUIET: {},
    }


async def test_a_device_is_shown_with_what_it_had(box: Box) -> None:
    await box.run("device", "add", SENSOR, "--label", "first")
    await box.run("device", "add", SENSOR, "--identity", "x", "--label", "second")
    await box.run("device", "remove", SENSOR, "--credential", "1")
    said = await box.run("device", "show", SENSOR)
    assert "Address           192.168.1.20:5683" in said.out
    table = said.out.partition("\n\n")[2].splitlines()
    assert [line.split()[:3] for line in table[1:]] == [["2", "psk", "active"], ["1", "psk", "revoked"]]
    said = await box.run("device", "show", QUIET)
    assert "not registered" in said.out
    assert "No credentials" in said.out
    said = await box.run("device", "show", "nobody")
    assert (said.code, said.out) == (1, "")
    assert "no device is called nobody" in said.err


async def test_credentials_are_removed(box: Box) -> None:
    for identity in ("x", "y", "z"):
        await box.run("device", "add", SENSOR, "--identity", identity)
    await box.run("device", "add", SLEEPER)
    said = await box.run("device", "remove", SENSOR, "--credential", "2")
    assert said.out == f"1 credential of {SENSOR} removed; what was connected by it is out.\n"
    assert [one.id for one in box.credentials.known] == [1, 3, 4]
    for number in ("4", "2", "99"):
        said = await box.run("device", "remove", SENSOR, "--credential", number)
        assert said.code == 1
        assert f"has no credential {number}" in said.err
    said = await box.run("device", "remove", SENSOR, "--json")
    assert said.data == {"removed": 2}
    assert [one.endpoint for one in box.credentials.known] == [SLEEPER]
    assert (await box.run("device", "remove", SENSOR)).code == 1


async def test_enrolment_opens_and_closes(box: Box) -> None:
    said = await box.run("device", "enrol", "--minutes", "3")
    assert said.code == 0
    window = box.credentials.enrolment()
    assert window is not None
    assert window.key.hex() in said.out
    assert "coaps://192.0.2.1:5684" in said.out
    said = await box.run("device", "enrol", "--close")
    assert said.out == "Enrolment is closed.\n"
    assert box.credentials.enrolment() is None
    said = await box.run("device", "enrol", "--json")
    assert said.data["psk"]["identity"] == "enrol"
    assert (await box.run("device", "enrol", "--close", "--json")).data == {"open": False, "ends_ms": None}
    said = await box.run("device", "enrol", "--minutes", "0")
    assert said.code == 1


async def test_a_device_is_asked_to_bootstrap(box: Box) -> None:
    said = await box.run("device", "bootstrap", STRANGE)
    assert (said.code, box.bootstrap.asked) == (0, [STRANGE])
    box.bootstrap.outcome = Outcome("FAILED", "4.05")
    said = await box.run("device", "bootstrap", SENSOR)
    assert (said.code, said.out) == (1, "")
    assert "4.05" in said.err
    assert "hint: restart" in said.err
    said = await box.run("device", "bootstrap", SENSOR, "--json")
    assert said.code == 1
    assert said.data["status"] == "FAILED"


def test_a_label_is_given_and_taken_away(terminal: Terminal) -> None:
    terminal.daemon.answers[f"PATCH /endpoints/{KITCHEN}"] = kitchen() | {"label": "Down\x1bstairs"}
    said = terminal.run("device", "label", KITCHEN, "Downstairs")
    assert said.out == "kitchen: label Down?stairs, awake window as configured.\n"
    terminal.daemon.answers[f"PATCH /endpoints/{KITCHEN}"] = kitchen()
    assert terminal.run("device", "label", KITCHEN).out.startswith("kitchen: label -,")
    assert terminal.run("device", "label", KITCHEN, "--json").data == kitchen()
    assert [request.body for request in terminal.daemon.asked] == [
        {"label": "Downstairs"},
        *[{"label": ""}] * 2,
    ]


def test_what_is_noted_is_set_and_the_rest_stays(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}"] = kitchen() | {"tags": ["Garden", "cold"]}
    terminal.daemon.answers[f"PATCH /endpoints/{KITCHEN}"] = kitchen() | {"tags": ["Gar\x1bden", "roof"]}
    said = terminal.run("device", "set", KITCHEN, "--tag", "roof", "--untag", "COLD", "--label", "Shed")
    assert said.out == "kitchen: label -, tags Gar?den, roof, awake window as configured.\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("two\nlines\n"))
    assert terminal.run("device", "set", KITCHEN, "--note", "-", "--awake", "default").code == 0
    assert terminal.run("device", "set", KITCHEN, "--note", "", "--label", "").code == 0
    bodies = [request.body for request in terminal.daemon.asked if request.method == "PATCH"]
    assert bodies == [
        {"label": "Shed", "tags": ["Garden", "roof"]},
        {"notes": "two\nlines", "awake_window_s": 0},
        {"notes": "", "label": ""},
    ]


def test_nothing_to_set_is_said_before_anybody_is_asked(terminal: Terminal) -> None:
    said = terminal.run("device", "set", KITCHEN)
    assert (said.code, terminal.daemon.asked) == (2, [])
    assert "nothing to set" in said.err


async def test_devices_are_listed_by_tag_and_in_an_order(box: Box) -> None:
    for name, tags in ((SENSOR, ("Garden",)), (SLEEPER, ("Garden", "roof"))):
        changes = [word for tag in tags for word in ("--tag", tag)]
        said = await box.run("device", "set", name, *changes, "--note", "<b>dry</b>\nby the door")
        assert said.code == 0, said.err
    said = await box.run("device", "list", "--json", "--tag", "garden", "--sort", "label")
    assert [(one["endpoint"], one["tags"]) for one in said.data] == [
        (SENSOR, ["Garden"]),
        (SLEEPER, ["Garden", "roof"]),
    ]
    assert "Garden, roof" in (await box.run("device", "list", "--tag", "roof")).out
    shown = (await box.run("device", "show", SLEEPER)).out
    assert "Garden, roof\n" in shown
    assert "  | <b>dry</b>\n  | by the door\n" in shown


def test_the_time_that_a_device_listens_is_set(terminal: Terminal) -> None:
    terminal.daemon.answers[f"PATCH /endpoints/{KITCHEN}"] = kitchen() | {"awake_window_s": 12.5}
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}"] = kitchen() | {"awake_window_s": 12.5}
    terminal.daemon.answers[f"GET /endpoints/{KITCHEN}/credentials"] = {"items": [], "next": None}
    assert "awake window 12.5 s." in terminal.run("device", "window", KITCHEN, "12").out
    assert terminal.run("device", "window", KITCHEN, "default").code == 0
    bodies = [request.body for request in terminal.daemon.asked]
    assert bodies == [{"awake_window_s": 12}, {"awake_window_s": 0}]
    assert "Awake window  12.5 s\n" in terminal.run("device", "show", KITCHEN).out
    for text in ("soon", "-1"):
        with pytest.raises(SystemExit):
            terminal.run("device", "window", KITCHEN, text)


async def test_a_renewed_key_is_not_counted_twice_when_it_has_ended(box: Box) -> None:
    await box.run("device", "add", SENSOR)
    await box.credentials.renew_psk(SENSOR)
    assert [one.state for one in box.credentials.known] == [CredentialState.ACTIVE, CredentialState.OFFERED]
    await box.credentials.remove(1)
    said = await box.run("device", "list", "--search", "green", "--json")
    assert said.data[0]["credentials"] == {"psk": 1}
