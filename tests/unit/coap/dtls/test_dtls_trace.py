"""The trace over DTLS: what was inside the records, by the name of the session."""

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import Traced
from flownexus_appliance.lwm2m.effects import Reply, Success
from tests.peer import POST

from ..conftest import ScriptedUplinks
from .secure import SecureDevice


async def test_messages_are_told_by_their_session(
    server: CoapServer, peer: SecureDevice, uplinks: ScriptedUplinks
) -> None:
    told: list[Traced] = []
    server.trace = told.append
    uplinks.outcomes.append(Reply(Success.CHANGED))
    request = peer.request(POST, "/dp", b"[]")
    await peer.reply(request)
    sender = (await uplinks.request())[0].sender
    assert sender.secure
    assert [(one.peer, one.incoming, one.code, one.payload) for one in told] == [
        (sender.peer, True, "POST", b"[]"),
        (sender.peer, False, "2.04", b""),
    ]
