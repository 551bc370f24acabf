"""The catalogues are whole, and the tool that keeps them so sees what they lack."""

from pathlib import Path

import pytest
from babel.messages.catalog import Catalog

from tools import texts

HEADER = """\
# German texts.
msgid ""
msgstr ""
"Language: de\\n"
"Plural-Forms: nplurals=2; plural=(n != 1);\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


@pytest.fixture(scope="module")
def found() -> Catalog:
    return texts.template()


@pytest.mark.parametrize("path", texts.catalogues(), ids=lambda path: path.stem)
def test_a_catalogue_is_whole(found: Catalog, path: Path) -> None:
    catalogue = texts.read(path)
    catalogue.update(found, no_fuzzy_matching=True)
    lacking = list(texts.faults(catalogue))
    assert not lacking, "translate what `make texts` lists:\n" + "\n".join(lacking)


def test_texts_are_found_in_all_places(found: Catalog) -> None:
    for text, place in (
        ("Skip to content", "http/templates/base.html"),
        ("Connection lost", "http/static/js/texts.js"),
        ("just now", "http/static/js/format.js"),
        ("just now", "http/wording.py"),
        ("Devices", "http/pages_frame.py"),
        ("UDP port of plain CoAP", "system/config.py"),
    ):
        message = found.get(text)
        assert message is not None, text
        assert f"flownexus_appliance/{place}" in {name for name, _ in message.locations}
    plural = found.get("%(num)s device")
    assert plural is not None
    assert plural.id == ("%(num)s device", "%(num)s devices")


def test_a_catalogue_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "de.po"
    gone = '#: old.py\nmsgid "Gone"\nmsgstr "Fort"\n\n'
    kept = '#: a.py\nmsgid "Kept"\nmsgstr "Bleibt"\n\n'
    path.write_text(HEADER + gone + kept, "utf-8")
    code = Catalog()
    code.add("Kept", None, [("b.py", 3)])
    code.add("Keep", None, [("b.py", 4)])
    lacking = list(texts.faults(texts.update(path, code)))
    assert lacking == ["b.py: not translated: Keep"]
    # No guess at what is new, nothing left of what is gone, no line numbers.
    assert path.read_text("utf-8") == (
        HEADER + '#: b.py\nmsgid "Kept"\nmsgstr "Bleibt"\n\n#: b.py\nmsgid "Keep"\nmsgstr ""\n\n'
    )
    before = path.stat().st_mtime_ns
    texts.update(path, code)
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("translation", "fault"),
    [
        ('msgid "%(num)s s"\nmsgstr "%(nun)s s"', "other placeholders"),
        ('msgid "%(a)s s"\nmsgstr "s"', "other placeholders"),
        ('msgid "a"\nmsgid_plural "b"\nmsgstr[0] "A"\nmsgstr[1] ""', "not translated: a"),
    ],
)
def test_a_wrong_translation_is_told(tmp_path: Path, translation: str, fault: str) -> None:
    path = tmp_path / "de.po"
    path.write_text(f"{HEADER}#: a.py\n#, python-format\n{translation}\n", "utf-8")
    assert fault in next(texts.faults(texts.read(path)))
