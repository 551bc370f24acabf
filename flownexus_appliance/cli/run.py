"""`flownexus run`: the appliance in the foreground, with simulated devices beside it where asked for.

A restart from the page stops everything in order and begins the same command anew in the same process, so
that systemd, a terminal and `./run` all keep what they started.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

from ..errors import ApplianceError, UsageError
from ..system import logs, notify
from ..system.settings import NAME, Settings
from .simulated import PREFIX, simulated_keys

if TYPE_CHECKING:
    from ..app import Running

log = logging.getLogger(__name__)

SIMULATOR_STOP_S: Final = 10.0
# Who asked for the restart gets the answer first, and a browser the page that waits.
RESTART_AFTER_S: Final = 1.0


class Ending:
    """Why the daemon ends: asked to stop, or to start anew. Stopping goes before."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._stop = False

    def stop(self) -> None:
        self._stop = True
        self._asked.set()

    def restart(self) -> None:
        """Soon; nothing where it ends already."""
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, self._asked.set)

    async def asked(self) -> None:
        await self._asked.wait()

    @property
    def again(self) -> bool:
        return not self._stop


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("run", help="run the appliance in the foreground")
    parser.add_argument("--state", type=Path, default=Path("var"), help="folder for the database and keys")
    parser.add_argument("--config", type=Path, help="configuration file (TOML)")
    parser.add_argument("--simulate", type=int, default=0, metavar="N", help="also run N simulated devices")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    ending = Ending()
    settings = Settings(options.config, options.state / NAME, ending.restart)
    if options.simulate < 0:
        raise UsageError("simulate_invalid", "--simulate takes 0 or more", "leave it out for none")
    logs.set_up(settings.config.log.level)
    for problem in settings.problems():
        log.error("setting passed over", extra={"REASON": problem})
    asyncio.run(_serve(settings, options.state, options.simulate, ending))
    if ending.again:
        _begin_anew()
    return 0


def _begin_anew() -> NoReturn:
    """This command again, in this process; nothing of the present run is open any more."""
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    except OSError as error:
        raise ApplianceError(
            "restart_failed", f"cannot start {sys.executable} anew: {error.strerror}", "start it by hand"
        ) from error


async def _serve(settings: Settings, state: Path, simulate: int, ending: Ending) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.stop)
    async with contextlib.AsyncExitStack() as stack:
        running = await _start(stack, settings, state)
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
        if running.lan_url:
            print(f"From other machines: {running.lan_url}", flush=True)
        if running.setup_code is not None:
            print(f"Set it up at {running.url} with the code {running.setup_code}.", flush=True)
        if running.coaps_port:
            print(f"Devices speak CoAP over DTLS to UDP port {running.coaps_port}.", flush=True)
        if running.coap_port:
            print(f"Devices speak CoAP to UDP port {running.coap_port}, unencrypted.", flush=True)
        print("Ctrl-C stops.", flush=True)
        notify.notify("READY=1")
        await ending.asked()
        if ending.again:
            # To systemd it goes on running: it is READY again soon.
            notify.notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            print("Restarting.", flush=True)
        else:
            notify.notify("STOPPING=1")
            print("Stopping.", flush=True)


async def _start(stack: contextlib.AsyncExitStack, settings: Settings, state: Path) -> "Running":
    """The appliance with the settings there are, or without the page's where it does not start with them."""
    # Imported here: `flownexus --help` and `flownexus sim` need none of the daemon.
    from ..app import appliance

    try:
        return await stack.enter_async_context(appliance(settings, state))
    except ApplianceError as error:
        if not settings.set_aside(error):
            raise
    return await stack.enter_async_context(appliance(settings, state))


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
