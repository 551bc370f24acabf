"""Any query and any bytes make a request or a PeerError, nothing else."""

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from flownexus_appliance.errors import PeerError
from flownexus_appliance.lwm2m.paths import MAX_ID
from flownexus_appliance.lwm2m.requests import (
    MAX_ENDPOINT_BYTES,
    MAX_LIFETIME_S,
    SUPPORTED_VERSIONS,
    ObjectList,
    RegisterRequest,
    UpdateRequest,
    parse_register,
    parse_update,
)

# Lone surrogates too: nothing here may rely on how the wire layer decodes text.
anything = st.text(st.characters(exclude_categories=[]), max_size=20)
names = st.sampled_from(["ep", "lt", "lwm2m", "b", "Q", "sms", "x", ""]) | anything
values = st.sampled_from(["1.0", "1.1", "1.2", "2.0", "U", "UQ", "60", "0", "4294967296", "true"]) | anything
items = anything | st.builds("{}={}".format, names, values) | names
queries = st.lists(items, max_size=20)
likely_queries = st.builds(
    lambda endpoint, version, further: [f"lwm2m={version}", f"ep={endpoint}", *further],
    st.text(min_size=1, max_size=300) | anything,
    st.sampled_from([*SUPPORTED_VERSIONS, "1.3"]),
    st.lists(items, max_size=4),
)

targets = st.one_of(
    st.builds("/{}".format, st.integers(0, MAX_ID + 5)),
    st.builds("/{}/{}".format, st.integers(0, MAX_ID + 5), st.integers(0, MAX_ID + 5)),
    st.builds("/below/{}/{}".format, st.integers(0, 9), st.integers(0, 9)),
    st.sampled_from(["/", "/below", "", "/3/0/9", "/03/0", "//", "/3/"]),
)
attributes = st.sampled_from(
    ["", ";ver=1.1", ';ver="1.1"', ";ver", ";ver=x", ';rt="oma.lwm2m"', ";ct=112", ';ct="60 112"', ";ct"]
)
link_lists = st.lists(st.builds("<{}>{}".format, targets, attributes), max_size=8).map(
    lambda links: ",".join(links).encode()
)
fragments = st.lists(st.sampled_from(["<", ">", "/3", "/0", ",", ";", "ver", "=", '"', "1.0", " ", "\\"]))
payloads = (
    link_lists | fragments.map(lambda parts: "".join(parts).encode()) | st.binary(max_size=60) | st.just(b"")
)


def attempt(parse: Callable[[], RegisterRequest | UpdateRequest]) -> RegisterRequest | UpdateRequest | None:
    try:
        return parse()
    except PeerError as error:
        refusal = error
    assert refusal.hint
    assert refusal.message.isprintable()
    assert len(refusal.message) < 250
    return None


def check_objects(listed: ObjectList) -> None:
    assert listed.objects
    assert list(listed.objects) == sorted(listed.objects)
    assert listed.root_path.startswith("/")
    assert all(0 <= n < 100_000 for n in listed.content_formats)
    for number, found in listed.objects.items():
        assert 0 <= number <= MAX_ID
        assert list(found.instances) == sorted(set(found.instances))
        assert all(0 <= n <= MAX_ID for n in found.instances)


@given(queries | likely_queries, payloads)
def test_a_register(query: list[str], payload: bytes) -> None:
    request = attempt(lambda: parse_register(query, payload))
    if request is None:
        return
    assert isinstance(request, RegisterRequest)
    assert 0 < len(request.endpoint.encode()) <= MAX_ENDPOINT_BYTES
    assert request.endpoint.isprintable()
    assert request.lwm2m_version in SUPPORTED_VERSIONS
    assert 0 < request.lifetime_s <= MAX_LIFETIME_S
    assert request.binding
    assert "Q" not in request.binding
    assert not {"ep", "lt", "lwm2m", "b", "Q"} & set(request.attributes)
    check_objects(request.object_list)


@given(queries | st.lists(st.builds("{}={}".format, names, values), max_size=3), payloads)
def test_an_update(query: list[str], payload: bytes) -> None:
    request = attempt(lambda: parse_update(query, payload))
    if request is None:
        return
    assert isinstance(request, UpdateRequest)
    assert request.lifetime_s is None or 0 < request.lifetime_s <= MAX_LIFETIME_S
    assert request.binding is None or (request.binding and "Q" not in request.binding)
    assert (request.object_list is None) == (payload == b"")
    if request.object_list is not None:
        check_objects(request.object_list)
