"""The fleet's side of a downlink: a request under way while the test plays the device."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from flownexus_appliance.coap.server import CoapServer
from flownexus_appliance.fleet.ports import Downlink, DownlinkReply, Method
from flownexus_appliance.lwm2m.paths import Path
from tests.peer import DEADLINE_S, SENML_CBOR, DevicePeer

READ = Downlink(Method.GET, Path.parse("/3/0"), accept=SENML_CBOR, timeout_s=DEADLINE_S)
BODY = bytes(range(256)) * 20  # 5120 bytes
NOT_FOUND = 0x84


def write(payload: bytes) -> Downlink:
    return Downlink(
        Method.PUT, Path.parse("/5/0/0"), payload=payload, content_format=42, timeout_s=DEADLINE_S
    )


@asynccontextmanager
async def asking(
    server: CoapServer, peer: DevicePeer, downlink: Downlink
) -> AsyncIterator["asyncio.Task[DownlinkReply]"]:
    """Ask the device; when the context closes, the task has ended."""
    task = asyncio.create_task(server.request(peer.address, downlink))
    try:
        yield task
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait([task])
    finally:
        task.cancel()
