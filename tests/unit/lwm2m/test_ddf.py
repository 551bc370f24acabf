"""DDF files: a good one in every detail, and what is refused with which words."""

import pytest

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.ddf import MAX_SIZE_BYTES, parse_ddf, split_ddf
from flownexus_appliance.lwm2m.model import ResourceDefinition
from flownexus_appliance.lwm2m.values import DataType

SOIL = """<?xml version="1.0" encoding="UTF-8"?>
<!-- A probe of our own. -->
<LWM2M xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:noNamespaceSchemaLocation="LWM2M.xsd">
  <Object ObjectType="MODefinition">
    <Name>Soil  Probe</Name>
    <Description1><![CDATA[What it measures & where.]]></Description1>
    <ObjectID>33010</ObjectID>
    <ObjectURN>urn:oma:lwm2m:x:33010:1.1</ObjectURN>
    <LWM2MVersion>1.1</LWM2MVersion>
    <ObjectVersion>1.1</ObjectVersion>
    <MultipleInstances>Multiple</MultipleInstances>
    <Mandatory>Optional</Mandatory>
    <Resources>
      <Item ID="7">
        <Name>Mode</Name>
        <Operations>RW</Operations>
        <MultipleInstances>Multiple</MultipleInstances>
        <Mandatory>Mandatory</Mandatory>
        <Type>Unsigned Integer</Type>
        <RangeEnumeration>
          0: off
          1: on &amp; armed
        </RangeEnumeration>
        <Units></Units>
        <Description>How it runs.</Description>
      </Item>
      <Item ID="1">
        <Name>Moisture</Name>
        <Operations>R</Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Optional</Mandatory>
        <Type>Float</Type>
        <RangeEnumeration>0..100</RangeEnumeration>
        <Units>/100</Units>
        <Description></Description>
      </Item>
      <Item ID="2">
        <Name>Calibrate</Name>
        <Operations>E</Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Optional</Mandatory>
        <Type></Type>
        <RangeEnumeration/>
        <Units/>
        <Description/>
      </Item>
      <Item ID="3">
        <Name>Secret</Name>
        <Operations></Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Optional</Mandatory>
        <Type>Opaque</Type>
      </Item>
    </Resources>
    <Description2/>
  </Object>
</LWM2M>
"""


def refusal(text: str | bytes) -> str:
    with pytest.raises(UsageError) as caught:
        parse_ddf(text.encode() if isinstance(text, str) else text)
    assert caught.value.code == "ddf_invalid"
    assert caught.value.hint
    return caught.value.message


def changed(old: str, new: str) -> str:
    assert SOIL.count(old) >= 1
    return SOIL.replace(old, new, 1)


def test_a_definition_in_every_detail() -> None:
    (definition,) = parse_ddf(SOIL.encode())
    assert (definition.object_id, definition.version, definition.lwm2m_version) == (33010, "1.1", "1.1")
    assert (definition.name, definition.multiple, definition.mandatory) == ("Soil Probe", True, False)
    assert list(definition.resources) == [1, 2, 3, 7]
    assert list(definition.resources.values()) == [
        ResourceDefinition(1, "Moisture", "R", DataType.FLOAT, False, False, "0..100", "/100"),
        ResourceDefinition(2, "Calibrate", "E", DataType.NONE, False, False, None, None),
        ResourceDefinition(3, "Secret", "", DataType.OPAQUE, False, False, None, None),
        ResourceDefinition(7, "Mode", "RW", DataType.UNSIGNED, True, True, "0: off; 1: on & armed", None),
    ]


@pytest.mark.parametrize(
    ("name", "data_type"),
    [
        ("String", DataType.STRING),
        ("Integer", DataType.INTEGER),
        ("Unsigned Integer", DataType.UNSIGNED),
        ("Float", DataType.FLOAT),
        ("Boolean", DataType.BOOLEAN),
        ("Opaque", DataType.OPAQUE),
        ("Time", DataType.TIME),
        ("Objlnk", DataType.OBJLNK),
        ("Corelnk", DataType.CORELNK),
    ],
)
def test_every_data_type(name: str, data_type: DataType) -> None:
    (definition,) = parse_ddf(changed("<Type>Float</Type>", f"<Type> {name} </Type>").encode())
    assert definition.resources[1].data_type is data_type


def test_an_executable_has_no_type_and_others_may_lack_it() -> None:
    executed = parse_ddf(changed("<Type></Type>", "<Type>String</Type>").encode())[0].resources[2]
    assert (executed.operations, executed.data_type) == ("E", DataType.NONE)
    untyped = parse_ddf(changed("<Type>Float</Type>", "<Type></Type>").encode())[0].resources[1]
    assert (untyped.operations, untyped.data_type) == ("R", DataType.NONE)


@pytest.mark.parametrize("version", ["", "<ObjectVersion></ObjectVersion>", "<ObjectVersion/>"])
def test_a_missing_version_is_1_0(version: str) -> None:
    text = changed("<ObjectVersion>1.1</ObjectVersion>", version)
    text = text.replace("<LWM2MVersion>1.1</LWM2MVersion>", version.replace("Object", "LWM2M"))
    (definition,) = parse_ddf(text.encode())
    assert (definition.version, definition.lwm2m_version) == ("1.0", "1.0")


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1", "windows-1252"])
def test_other_encodings(encoding: str) -> None:
    text = SOIL.replace('encoding="UTF-8"', f'encoding="{encoding}"').replace("Moisture", "Feuchtemaß")
    (definition,) = parse_ddf(text.encode(encoding))
    assert definition.resources[1].name == "Feuchtemaß"


def test_several_objects_in_one_file() -> None:
    second = SOIL[SOIL.index("  <Object ") : SOIL.index("</LWM2M>")]
    later = second.replace("<ObjectVersion>1.1<", "<ObjectVersion>2.0<")
    found = parse_ddf(SOIL.replace("</LWM2M>", later + "</LWM2M>").encode())
    assert [(o.object_id, o.version) for o in found] == [(33010, "1.1"), (33010, "2.0")]
    twice = refusal(SOIL.replace("</LWM2M>", second + "</LWM2M>"))
    assert "Object 33010: version 1.1 stands twice" in twice


def test_each_object_of_a_file_has_a_file_of_its_own() -> None:
    assert split_ddf(SOIL.encode()) == ((parse_ddf(SOIL.encode())[0], SOIL.encode()),)
    second = SOIL[SOIL.index("  <Object ") : SOIL.index("</LWM2M>")].replace(">33010<", ">33011<")
    both = SOIL.replace("</LWM2M>", second + "</LWM2M>").encode()
    (one, its_file), (other, other_file) = split_ddf(both)
    assert (one, other) == parse_ddf(both)
    assert parse_ddf(its_file) == (one,)
    assert parse_ddf(other_file) == (other,)
    for kept in (
        b'xsi:noNamespaceSchemaLocation="LWM2M.xsd"',
        b"What it measures &amp; where.",
        b"How it runs.",
    ):
        assert kept in its_file


def test_an_object_that_grows_too_large_in_a_file_of_its_own_is_refused() -> None:
    text = SOIL.replace('encoding="UTF-8"', 'encoding="iso-8859-1"').replace("How it runs.", "ß" * 600_000)
    second = SOIL[SOIL.index("  <Object ") : SOIL.index("</LWM2M>")].replace(">33010<", ">33011<")
    with pytest.raises(UsageError, match="Object 33010: larger than 1024 KiB in UTF-8") as caught:
        split_ddf(text.replace("</LWM2M>", second + "</LWM2M>").encode("iso-8859-1"))
    assert caught.value.code == "ddf_invalid"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<ObjectID>33010</ObjectID>", "", "Object/ObjectID: missing"),
        ("<ObjectID>33010<", "<ObjectID>65535<", "Object/ObjectID: 65535 is not a number from 0 to 65534"),
        ("<ObjectID>33010<", "<ObjectID><", "Object/ObjectID: nothing is not a number"),
        ("<ObjectID>33010<", "<ObjectID>٣<", "Object/ObjectID: ٣ is not a number"),
        ("<Name>Soil  Probe</Name>", "", "Object 33010/Name: missing"),
        ("<Name>Soil  Probe</Name>", "<Name> </Name>", "Object 33010/Name: empty"),
        ("<ObjectVersion>1.1<", "<ObjectVersion>one<", "Object 33010/ObjectVersion: one is not a version"),
        ("<LWM2MVersion>1.1<", "<LWM2MVersion>1<", "Object 33010/LWM2MVersion: 1 is not a version"),
        (">Multiple</Mul", ">Many</Mul", "Object 33010/MultipleInstances: Many is none of multiple, single"),
        ("<Mandatory>Optional</Mandatory>", "", "Object 33010/Mandatory: missing"),
        ("Resources>", "Resource>", "Object 33010/Resources: missing"),
        ('<Item ID="7">', "<Item>", "Object 33010/Item attribute ID: nothing is not a number"),
        ('<Item ID="7">', '<Item ID="7x">', "Object 33010/Item attribute ID: 7x is not a number"),
        ('<Item ID="7">', '<Item ID="1">', "Object 33010/Item 1: stands twice"),
        ("<Name>Mode</Name>", "", "Object 33010/Item 7/Name: missing"),
        ("<Operations>RW<", "<Operations>RX<", "Object 33010/Item 7/Operations: RX is none of R, W, RW, E"),
        ("<Operations>RW</Operations>", "", "Object 33010/Item 7/Operations: missing"),
        ("<Type>Float</Type>", "", "Object 33010/Item 1/Type: missing"),
        ("<Type>Float<", "<Type>Double<", "Object 33010/Item 1/Type: Double is none of string"),
        (">Single</Mul", "></Mul", "Object 33010/Item 1/MultipleInstances: nothing is none of"),
    ],
)
def test_the_element_at_fault_is_named(old: str, new: str, words: str) -> None:
    text = changed(old, new)
    if old == "Resources>":
        text = text.replace("</Resources>", "</Resource>")
    assert words in refusal(text)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "line 1: not XML"),
        (b"{}", "line 1: not XML"),
        (b"\x00\xff", "line 1: not XML"),
        (SOIL[:-20].encode(), "not XML"),
        (b"<LWM2M/>", "LWM2M/Object: missing"),
        (b"<html><Object/></html>", "html: the outermost element is not LWM2M"),
        (b"<LWM2M>" + b"<a>" * 100_000, "a: elements are nested more than 8 deep"),
        (b"<LWM2M>&name;</LWM2M>", "undefined entity"),
        (b'<?xml version="1.0" encoding="klingon"?><LWM2M/>', "unknown encoding"),
        (b'<?xml version="1.0" encoding="gb18030"?><LWM2M/>', "unusable encoding"),
        (b'<?xml version="1.0" encoding="rot13"?><LWM2M/>', "unusable encoding"),
        (b" " * (MAX_SIZE_BYTES + 1), "larger than 1024 KiB"),
    ],
)
def test_what_is_no_ddf_is_refused(data: bytes, words: str) -> None:
    assert words in refusal(data)


DOCTYPES = (
    "<!DOCTYPE LWM2M>",
    '<!DOCTYPE LWM2M SYSTEM "file:///etc/hostname">',
    '<!DOCTYPE LWM2M [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
    '<!DOCTYPE LWM2M [<!ENTITY x SYSTEM "file:///etc/hostname">]>',
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("doctype", DOCTYPES)
def test_a_document_type_is_refused_in_every_encoding(doctype: str, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{doctype}<LWM2M>&b;</LWM2M>'
    assert "<!DOCTYPE LWM2M>: document type declarations are not accepted" in refusal(text.encode(encoding))


def test_text_from_the_file_is_bounded_and_printable() -> None:
    long = parse_ddf(changed("<Name>Mode<", f"<Name>{'n' * 5000}\u202e<").encode())[0].resources[7].name
    assert long == "n" * 254 + "…"
    odd = parse_ddf(changed("<Name>Mode<", "<Name>Mo\u202ede<").encode())[0].resources[7].name
    assert odd == "Mo?de"
    assert len(refusal(changed("<Type>Float<", f"<Type>{'x' * 5000}<"))) < 300
