"""`flownexus run`: the appliance in the foreground, with simulated devices beside it where asked for."""

import argparse
import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Final

from ..errors import UsageError
from ..system import logs, notify
from ..system.config import Config, load_config
from .simulated import PREFIX, simulated_keys

SIMULATOR_STOP_S: Final = 10.0


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("run", help="run the appliance in the foreground")
    parser.add_argument("--state", type=Path, default=Path("var"), help="folder for the database and keys")
    parser.add_argument("--config", type=Path, help="configuration file (TOML)")
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="also run N simulated devices")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    config = load_config(options.config)
    if options.simulate < 0:
        raise UsageError("simulate_invalid", "--simulate takes 0 or more", "leave it out for none")
    logs.set_up(config.log.level)
    asyncio.run(_serve(config, options.state, options.simulate))
    return 0


async def _serve(config: Config, state: Path, simulate: int) -> None:
    # Imported here: `flownexus --help` and `flownexus sim` need none of the daemon.
    from ..app import appliance

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(appliance(config, state))
        if simulate:
            words = ["--port", str(running.coap_port)]
            if running.coaps_port:
                keys = await asyncio.to_thread(simulated_keys, state, simulate)
                words = ["--dtls", "--psk-file", str(keys), "--port", str(running.coaps_port)]
            await stack.enter_async_context(_simulator(simulate, words))
        # What start-up made stays: a full collection then has little to look through. Its pause
        # with a thousand devices is longer than a socket's buffer holds datagrams.
        gc.collect()
        gc.freeze()
        print(f"FlowNexus is ready: {running.url}", flush=True)
        if running.coaps_port:
            print(f"Devices speak CoAP over DTLS to UDP port {running.coaps_port}.", flush=True)
        if running.coap_port:
            print(f"Devices speak CoAP to UDP port {running.coap_port}, unencrypted.", flush=True)
        print("Ctrl-C stops.", flush=True)
        notify.notify("READY=1")
        await stop.wait()
        notify.notify("STOPPING=1")
        print("Stopping.", flush=True)


@contextlib.asynccontextmanager
async def _simulator(count: int, words: Sequence[str]) -> AsyncIterator[None]:
    """Simulated devices in a process of their own, as far from the daemon as real ones.

    `words` are further ones for `flownexus sim`.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "flownexus_appliance",
        "sim",
        "-n",
        str(count),
        "--prefix",
        PREFIX,
        *words,
        stdin=asyncio.subprocess.DEVNULL,
        # Out of the terminal's process group: Ctrl-C reaches the daemon, which stops the devices.
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(SIMULATOR_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
