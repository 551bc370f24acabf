"""Which language a page is in, what scripts get of it, and that programs get English."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path as FilePath

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from flownexus_appliance.db.operations import Outcome
from flownexus_appliance.errors import ApplianceError, PeerError, UsageError
from flownexus_appliance.http import language, problems
from flownexus_appliance.http.answers import json_answer, page_answer
from flownexus_appliance.http.errors import STATUS
from flownexus_appliance.http.pages_forms import Problem
from flownexus_appliance.http.static import Assets
from flownexus_appliance.lwm2m.operations import Kind, Operation, Status
from flownexus_appliance.lwm2m.paths import Path

from .conftest import Client
from .house import SENSOR, FakeOperations
from .page import refused, wrong

FIREFOX = "de-AT,de;q=0.8,en-US;q=0.5,en;q=0.3"


@pytest.fixture
def german() -> Iterator[None]:
    token = language.use(language.load("de"))
    yield
    token.var.reset(token)


@pytest.fixture
async def small() -> AsyncIterator[Client]:
    """An application of two pages and an address for programs."""

    async def page(_: web.Request) -> web.Response:
        return page_answer("<p>" + language.gettext("Devices") * 500)

    async def asked(_: web.Request) -> web.Response:
        return json_answer({"text": language.gettext("Devices")})

    app = web.Application(middlewares=[language.choose])
    app.add_routes([web.get("/", page), web.get("/form", asked), web.get("/api/v1/things", asked)])
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize(
    ("accepted", "tag"),
    [
        ("", "en"),
        ("de", "de"),
        ("DE-at", "de"),
        ("de-Latn-DE-1996", "de"),
        (FIREFOX, "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("fr,de;q=0.5,en;q=0.7", "en"),
        ("fr, de ; q=0.5", "de"),
        ("fr", "en"),
        ("*", "en"),
        ("de;q=0", "en"),
        ("de;q=0.000,en;q=0.1", "en"),
        ("de;q=2", "en"),
        ("de;q=nan", "en"),
        ("german", "en"),
        ("de\u00e9,de;q=0.1", "de"),
        (",,;q=1,-,de-,", "en"),
        (",".join(["xx"] * 20 + ["de"]), "en"),
    ],
)
def test_what_a_browser_likes_best(accepted: str, tag: str) -> None:
    assert language.best(accepted) == tag


@pytest.mark.parametrize(
    ("cookie", "accepted", "tag"),
    [
        (None, FIREFOX, "de"),
        ("en", FIREFOX, "en"),
        ("de", "en", "de"),
        ("xx", FIREFOX, "de"),
        ("../de", "en", "en"),
        ("", "de", "de"),
        (None, None, "en"),
    ],
)
async def test_a_page_is_in_the_language_chosen(
    small: Client, cookie: str | None, accepted: str | None, tag: str
) -> None:
    headers = {"Accept-Language": accepted} if accepted is not None else {}
    if cookie is not None:
        headers["Cookie"] = f"language={cookie}"
    async with small.get("/", headers=headers) as response:
        assert response.headers["Content-Language"] == tag
        assert response.headers["Vary"] == "Accept-Encoding, Accept-Language, Cookie"
        assert ("Ger\u00e4te" in await response.text()) is (tag == "de")


async def test_each_request_of_a_connection_has_its_own_language(small: Client) -> None:
    for tag, words in (("de", "Ger\u00e4te"), ("en", "Devices"), ("de", "Ger\u00e4te")):
        async with small.get("/form", headers={"Accept-Language": tag}) as response:
            assert (await response.json())["text"] == words
            assert "Content-Language" not in response.headers


async def test_programs_get_english(small: Client) -> None:
    async with small.get("/api/v1/things", headers={"Accept-Language": "de"}) as response:
        assert (await response.json())["text"] == "Devices"
        assert "Vary" not in response.headers


def test_a_choice_is_kept_by_the_browser() -> None:
    response = web.Response()
    language.remember(response, "de")
    cookie = response.cookies["language"]
    assert (cookie.value, cookie["path"], cookie["samesite"]) == ("de", "/", "Lax")
    assert cookie["secure"]
    assert cookie["httponly"]
    language.remember(response, "")
    assert response.cookies["language"]["max-age"] == "0"


def test_languages_call_themselves() -> None:
    assert language.names() == {"en": "English", "de": "Deutsch"}
    assert language.offered() == ("en", "de")


def test_a_language_comes_with_its_file(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> None:
    header = '"Language: pl\\n"\n"Plural-Forms: nplurals=3; plural={rule};\\n"\n'
    header += '"Content-Type: text/plain; charset=utf-8\\n"\n'
    rule = "(n==1 ? 0 : n%10>=2 && n%10<=4 && (n%100<12 || n%100>14) ? 1 : 2)"
    texts = """
#: flownexus_appliance/http/static/js/texts.js
msgid "%(num)s device"
msgid_plural "%(num)s devices"
msgstr[0] "%(num)s urz\u0105dzenie"
msgstr[1] "%(num)s urz\u0105dzenia"
msgstr[2] "%(num)s urz\u0105dze\u0144"

#: flownexus_appliance/http/static/js/texts.js
msgid "Live"
msgstr ""

#: flownexus_appliance/http/templates/base.html
msgid "Pages"
msgstr "Strony"
"""
    place = tmp_path / "pl.po"
    place.write_text(f'msgid ""\nmsgstr ""\n{header.format(rule=rule)}\n{texts}', "utf-8")
    monkeypatch.setattr(language, "LOCALE", tmp_path)
    language.catalogues.cache_clear()
    language.load.cache_clear()
    try:
        assert language.best("pl-PL") == "pl"
        polish = language.load("pl")
        assert polish.decimal == ","
        assert [polish.texts.ngettext("%(num)s device", "", n)[-1] for n in (1, 2, 5, 12, 22)] == list(
            "eańńa"
        )
        script = polish.script.decode()
        assert "Strony" not in script
        assert "Live" not in script  # not translated: the script keeps its English
        assert f"(n) => Number({rule});" in script
        place.write_text(f'msgid ""\nmsgstr ""\n{header.format(rule="(alert(n))")}\n{texts}', "utf-8")
        language.load.cache_clear()
        with pytest.raises(ValueError, match="plural form"):
            language.load("pl")
    finally:
        language.catalogues.cache_clear()
        language.load.cache_clear()


def test_english_does_without_babel() -> None:
    """It costs megabytes, and time at every start."""
    code = "import sys, flownexus_appliance.http.server as s; sys.exit('babel' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# What scripts get


async def test_scripts_have_their_texts_as_a_module(german: None) -> None:
    assets = Assets()
    assets.load()
    app = web.Application()
    app.add_routes([place.definition() for place in assets.routes()])
    assert re.fullmatch(r"/static/[0-9a-f]{16}/js/catalogue/de\.js", assets.catalogue())
    async with TestClient(TestServer(app)) as client:
        async with client.get(assets.catalogue(), headers={"Accept-Encoding": "identity"}) as response:
            assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
            assert "immutable" in response.headers["Cache-Control"]
            script = await response.text()
        for name in ("en", "fr", "../../locale/de"):
            url = assets.catalogue().replace("/de.js", f"/{name}.js")
            async with client.get(url) as response:
                assert response.status == 404
    found = re.fullmatch(
        r"export const texts = (\{.*\});\nexport const plural = \(n\) => Number\(\(n != 1\)\);\n"
        r'export const decimal = ",";\n',
        script,
    )
    assert found is not None
    texts = json.loads(found[1])
    assert texts["%(num)s device"] == ["%(num)s Ger\u00e4t", "%(num)s Ger\u00e4te"]
    assert texts["Connection lost"] == "Verbindung verloren"
    assert "Skip to content" not in texts


def test_english_has_no_module() -> None:
    assets = Assets()
    assets.load()
    assert assets.catalogue() == ""
    with pytest.raises(KeyError):
        assets.url("js/catalogue/en.js")


def test_texts_are_part_of_the_address(monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
    def version() -> str:
        assets = Assets()
        assets.load()
        return assets.url("js/app.js")

    before = version()
    copy = tmp_path / "de.po"
    copy.write_bytes(language.catalogues()["de"].read_bytes() + b"\n")
    monkeypatch.setattr("flownexus_appliance.http.static.catalogues", lambda: {"de": copy})
    assert version() != before


# Errors in the language of the page


def test_every_error_has_words_for_those_who_read_no_english() -> None:
    missing = set(STATUS) - set(problems.WORDINGS)
    assert not missing, f"say in http/problems.py what these mean: {missing}"
    assert not set(problems.WORDINGS) - set(STATUS), "codes that are gone"


def test_english_is_told_as_it_is() -> None:
    error = UsageError("value_invalid", "21x is no number", "give digits")
    assert problems.told(error) == problems.Told("21x is no number", "give digits")
    problem = Problem.of(error, {"value_invalid": "value"})
    assert (problem.field, problem.message, problem.hint, problem.detail) == (
        "value",
        "21x is no number",
        "give digits",
        "",
    )


def test_german_is_told_what_kind_it_is_with_the_english_below(german: None) -> None:
    error = UsageError("value_invalid", "21x is no number", "give digits")
    problem = Problem.of(error, {"value_invalid": "value"})
    assert problem.message == "dieser Wert ist hier nicht verwendbar"
    assert problem.hint == "die Eingabe pr\u00fcfen"
    assert problem.detail == "21x is no number; give digits"
    assert problem.field == "value"
    said = problems.told(UsageError("form_replayed", "the form was sent already", "load it anew"))
    assert said.message.startswith("das Formular wurde schon gesendet")
    assert said.detail == ""


@pytest.mark.parametrize("error", [PeerError("new", "m", "h"), ApplianceError("new", "m")])
def test_an_error_without_words_stays_english(error: ApplianceError, german: None) -> None:
    assert problems.told(error) == problems.Told(error.message, error.hint)


async def test_an_error_page_in_german(client: Client) -> None:
    headers = {"Accept": "text/html", "Accept-Language": "de"}
    async with client.get("/devices/%3Cb%3E", headers=headers) as response:
        assert response.status == 404
        assert response.headers["Content-Language"] == "de"
        text = await response.text()
    assert "Kein Ger\u00e4t hei\u00dft so" in text
    assert '<html lang="de"' in text
    assert '<p class="quiet detail" lang="en">no device is called &lt;b&gt;; ' in text


async def test_an_error_for_programs_is_english(client: Client) -> None:
    async with client.get("/api/v1/endpoints/nobody", headers={"Accept-Language": "de"}) as response:
        assert response.status == 404
        assert (await response.json())["message"] == "no device is called nobody"


async def test_a_form_says_in_german_what_is_wrong(client: Client) -> None:
    headers = {"Accept-Language": "de"}
    found = await refused(client, "/add-device", 400, {"endpoint": "", "kind": "psk"}, headers)
    assert wrong(found) == ["endpoint"]
    assert "Das Ger\u00e4t hat keinen Namen. Ihm einen geben." in found.text


async def test_why_an_operation_failed_stays_english_below_german(
    client: Client, operations: FakeOperations
) -> None:
    silent = Outcome(message="no answer from <b>192.0.2.9</b>", hint="look at the device")
    operations.ends = Status.FAILED, silent
    asked = await operations.ask(SENSOR, Operation(Kind.READ, (Path.parse("/3/0/9"),)), "web")
    operations.ends = Status.FAILED, Outcome("4.04", message="gone")
    refusal = await operations.ask(SENSOR, Operation(Kind.READ, (Path.parse("/3/0/8"),)), "console")
    headers = {"Accept": "text/html", "Accept-Language": "de"}
    async with client.get(f"/operations/{asked.id}", headers=headers) as response:
        text = await response.text()
    assert "das Ger\u00e4t hat nicht geantwortet" in text
    detail = "no answer from &lt;b&gt;192.0.2.9&lt;/b&gt;; look at the device"
    assert f'<small class="detail" lang="en">{detail}</small>' in text
    async with client.get(f"/operations/{refusal.id}", headers=headers) as response:
        text = " ".join((await response.text()).split())
    assert "4.04 Not Found: das Ger\u00e4t hat dieses Objekt, diese Instanz oder Ressource nicht." in text
    assert "Das Ger\u00e4t meldet: gone" in text
    assert "Befehlszeile" in text


async def test_certificates_tell_their_course_in_german(client: Client) -> None:
    async with client.get(
        "/certificates", headers={"Accept": "text/html", "Accept-Language": "de"}
    ) as response:
        text = await response.text()
    assert "wenn zwei Drittel seiner Zeit vorbei sind" in text
    assert "two thirds" not in text
