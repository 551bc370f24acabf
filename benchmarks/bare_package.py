"""The peer of `firmware_blocks_vs_aiocoap`: a file in memory, served by aiocoap's own resources and blocks.

python -m benchmarks.bare_package PORT FILE
"""

import asyncio
import contextlib
import signal
import sys
from pathlib import Path

import aiocoap
from aiocoap import resource


class Package(resource.Resource):  # type: ignore[misc]
    def __init__(self, content: bytes) -> None:
        super().__init__()
        self._content = content

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        return aiocoap.Message(payload=self._content, content_format=42)


async def main(port: int, content: bytes) -> None:
    site = resource.Site()
    site.add_resource(["fw", "package"], Package(content))
    context = await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()
    await context.shutdown()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).read_bytes()))
