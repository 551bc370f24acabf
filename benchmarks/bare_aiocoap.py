"""The peer of `ingest_vs_aiocoap`: aiocoap as it comes, with nothing behind it.

Answers Register with 2.01, observes each registered device once, answers Send with 2.04 and takes
notifications in; keeps nothing.

    python -m benchmarks.bare_aiocoap PORT
"""

import asyncio
import contextlib
import signal
import sys

import aiocoap
from aiocoap import resource


class Registration(resource.Resource):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.context: aiocoap.Context | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def render_post(self, request: aiocoap.Message) -> aiocoap.Message:
        task = asyncio.create_task(self.observe(request.remote))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        reply = aiocoap.Message(code=aiocoap.CREATED)
        reply.opt.location_path = ("rd", "bare")
        return reply

    async def observe(self, remote: object) -> None:
        message = aiocoap.Message(code=aiocoap.GET, observe=0, accept=112)
        message.remote = remote
        message.opt.uri_path = ("3303", "0", "5700")
        assert self.context is not None
        request = self.context.request(message)
        # A device that goes away at the end of the run is nobody's concern.
        with contextlib.suppress(aiocoap.error.NetworkError):
            await request.response
            async for _ in request.observation:
                pass


class Send(resource.Resource):  # type: ignore[misc]
    async def render_post(self, request: aiocoap.Message) -> aiocoap.Message:
        return aiocoap.Message(code=aiocoap.CHANGED)


async def main() -> None:
    registration = Registration()
    site = resource.Site()
    site.add_resource(["rd"], registration)
    site.add_resource(["dp"], Send())
    registration.context = await aiocoap.Context.create_server_context(
        site, bind=("127.0.0.1", int(sys.argv[1]))
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("ready", flush=True)
    await stop.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
