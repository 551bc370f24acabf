"""Any bytes offered as a DDF file give definitions or a UsageError, nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import UsageError
from flownexus_appliance.lwm2m.ddf import parse_ddf, split_ddf
from flownexus_appliance.lwm2m.model import OPERATIONS, ModelSet, ObjectDefinition, version_key
from flownexus_appliance.lwm2m.paths import MAX_ID, Path

TAGS = (
    "LWM2M Object Name ObjectID LWM2MVersion ObjectVersion MultipleInstances Mandatory Resources Item "
    "Operations Type RangeEnumeration Units Description1"
).split()
WORDS = (
    "Multiple Single Mandatory Optional R RW W E Float String Time Opaque Double 1.0 2.11 0 7 65535 -1"
).split()

tags = st.sampled_from(TAGS)
words = st.sampled_from(WORDS) | st.text(max_size=12)
tokens = st.one_of(
    tags.map(lambda tag: f"<{tag}>"),
    tags.map(lambda tag: f"</{tag}>"),
    tags.map(lambda tag: f"<{tag}/>"),
    words.map(lambda word: f'<Item ID="{word}">'),
    words.map(lambda word: f'<?xml version="1.0" encoding="{word}"?>'),
    st.sampled_from(["<!--", "-->", "<![CDATA[", "]]>", "<!DOCTYPE LWM2M [", "]>", "&amp;", "&x;", "&#0;"]),
    words,
)


def item(name: str, operations: str, data_type: str, number: str) -> str:
    return (
        f'<Item ID="{number}"><Name>{name}</Name><Operations>{operations}</Operations>'
        "<MultipleInstances>Single</MultipleInstances><Mandatory>Optional</Mandatory>"
        f"<Type>{data_type}</Type><Units>{name}</Units></Item>"
    )


def ddf(object_id: str, version: str, name: str, items: list[str]) -> str:
    return (
        f"<LWM2M><Object><ObjectID>{object_id}</ObjectID><Name>{name}</Name>"
        f"<ObjectVersion>{version}</ObjectVersion><MultipleInstances>Multiple</MultipleInstances>"
        f"<Mandatory>Optional</Mandatory><Resources>{''.join(items)}</Resources></Object></LWM2M>"
    )


ids = st.sampled_from(["0", "7", "65534"]) | st.integers(0, 66000).map(str)
plausible_object = st.builds(
    ddf,
    ids,
    st.sampled_from(["1.0", "2.11", "", "x"]),
    words,
    st.lists(
        st.builds(item, words, st.sampled_from(["R", "RW", "W", "E", "", "X"]), st.sampled_from(WORDS), ids),
        max_size=4,
    ),
)
plausible = st.lists(plausible_object, min_size=1, max_size=3).map(
    lambda texts: "".join(texts).replace("</LWM2M><LWM2M>", "\r\n")
)


def outcome(data: bytes) -> tuple[ObjectDefinition, ...] | UsageError:
    try:
        return parse_ddf(data)
    except UsageError as error:
        return error


def holds(data: bytes) -> None:
    definitions = outcome(data)
    if isinstance(definitions, UsageError):
        assert definitions.code == "ddf_invalid"
        assert definitions.message.isprintable()
        return
    assert definitions
    parts = split_ddf(data)
    assert tuple(definition for definition, _ in parts) == definitions
    assert all(parse_ddf(alone) == (definition,) for definition, alone in parts)
    models = ModelSet().with_objects(definitions)
    for definition in definitions:
        assert 0 <= definition.object_id <= MAX_ID
        assert version_key(definition.version) is not None
        assert models.object(definition.object_id, definition.version) == definition
        for number, resource in definition.resources.items():
            assert number == resource.resource_id
            assert resource.name
            assert resource.operations in OPERATIONS
            assert models.resource(Path.of(definition.object_id, 0, number), definition.version) == resource


@given(st.binary(max_size=400))
def test_any_bytes(data: bytes) -> None:
    holds(data)


@given(st.lists(tokens, max_size=30).map("".join), st.sampled_from(["utf-8", "utf-16", "latin-1"]))
def test_any_sequence_of_markup(text: str, encoding: str) -> None:
    holds(text.encode(encoding, "replace"))


@given(plausible)
def test_nearly_right_files(text: str) -> None:
    holds(text.encode("utf-8", "replace"))


@given(plausible, st.integers(0, 2000), st.binary(min_size=1, max_size=3))
def test_damaged_files(text: str, position: int, damage: bytes) -> None:
    data = text.encode("utf-8", "replace")
    at = position % len(data)
    holds(data[:at] + damage + data[at + len(damage) :])
