"""The Bootstrap interface on the wire: what /bs and /bspack become, and how they are answered."""

import pytest

from flownexus_appliance.errors import PeerError
from flownexus_appliance.fleet.ports import Action
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import ACCEPT, CONTENT_FORMAT, GET, POST, SENML_CBOR, DevicePeer, uint
from tests.unit.coap.conftest import ScriptedUplinks


async def test_a_bootstrap_request_reaches_the_fleet(peer: DevicePeer, uplinks: ScriptedUplinks) -> None:
    uplinks.outcomes.append(Reply(Success.CHANGED))
    reply = await peer.reply(peer.request(POST, "/bs", query=("ep=peer", "pct=112")))
    uplink, _ = await uplinks.request()
    assert (uplink.action, uplink.query) == (Action.BOOTSTRAP, ("ep=peer", "pct=112"))
    assert uplink.accept is None
    assert (reply.status, reply.payload) == ("2.04", b"")


@pytest.mark.parametrize("accept", [None, 112, 11544, 40])
async def test_what_a_pack_is_wanted_in_is_for_the_fleet_to_judge(
    peer: DevicePeer, uplinks: ScriptedUplinks, accept: int | None
) -> None:
    uplinks.outcomes.append(Reply(Success.CONTENT, payload=b"\x80", content_format=SENML_CBOR))
    more = () if accept is None else ((ACCEPT, uint(accept)),)
    reply = await peer.reply(peer.request(GET, "/bspack", query=("ep=peer",), more=more))
    uplink, _ = await uplinks.request()
    assert (uplink.action, uplink.query, uplink.accept) == (Action.BOOTSTRAP_PACK, ("ep=peer",), accept)
    assert (reply.status, reply.payload) == ("2.05", b"\x80")
    assert reply.one(CONTENT_FORMAT) == uint(SENML_CBOR)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("bootstrap_refused", "4.00"),
        ("identity_refused", "4.03"),
        ("not_found", "4.04"),
        ("not_acceptable", "4.06"),
    ],
)
async def test_a_refusal_has_its_code(
    peer: DevicePeer, uplinks: ScriptedUplinks, code: str, status: str
) -> None:
    uplinks.outcomes.append(PeerError(code, "why", ""))
    reply = await peer.reply(peer.request(GET, "/bspack", query=("ep=peer",)))
    assert (reply.status, reply.payload) == (status, b"why")
