"""Many simulated devices in one process: start, status, clean stop.

`run` is what `flownexus sim` calls; `Fleet` is for a program that wants the devices beside it.
"""

import asyncio
import gc
import resource
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Final

from ..errors import UsageError, clean
from .channel import Sessions
from .device import Device
from .options import SimOptions
from .port import Port, Resolver, Server, Workers
from .statistics import Statistics
from .web import trusted

_SPARE_FILES: Final = 64  # files a process has open beside its sockets
# So many devices deregister at a time: more would only overrun the server's receive buffer.
_LEAVING_AT_ONCE: Final = 64
_POLL_S: Final = 0.1

Say = Callable[[str], None]


class Fleet:
    """The devices of one `SimOptions`; `start`, then `stop` once."""

    def __init__(self, options: SimOptions) -> None:
        self.options = options
        self.statistics = Statistics()
        self._ports: list[Port] = []
        self._resolver = Resolver()
        self._sessions = Sessions(options.dtls)
        self._workers = Workers(options.firmware.https_threads)

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(port.device for port in self._ports)

    async def start(self) -> None:
        """Open all sockets and let the devices register one after the other, staggered.

        Raises UsageError: `sim_options_invalid`, `host_unknown`, `too_many_devices`,
        `credential_unusable`.
        """
        options = self.options
        options.check()
        if options.firmware.https_ca:
            trusted(options.firmware.https_ca)  # now, not when the first device fetches something
        server = await self._resolve()
        # Each device may have a second socket, for a download.
        _allow_files(options.count + _SPARE_FILES, 2 * options.count + _SPARE_FILES)
        loop = asyncio.get_running_loop()
        wall_offset_s = time.time() - loop.time()
        first = loop.time()
        try:
            for index in range(options.count):
                port = Port(server, self.statistics, self._resolver, options.rebind_every_s, self._workers)
                device = Device(
                    options,
                    index,
                    port,
                    self.statistics,
                    sessions=self._sessions,
                    # Not the seed of the readings: a second run must not repeat message ids.
                    entropy=Random(),
                    wall_offset_s=wall_offset_s,
                )
                self._ports.append(port)
                port.open(device, first + index * options.stagger_s)
        except OSError as error:
            self.close()
            raise UsageError(
                "too_many_devices",
                f"no socket for device {len(self._ports)}: {error.strerror}",
                "start fewer devices, or raise the limit of open files (ulimit -n)",
            ) from error
        except UsageError:
            self.close()
            raise

    async def stop(self) -> None:
        """Deregister all devices that are registered, in bounded time, and close their sockets."""
        gate = asyncio.Semaphore(_LEAVING_AT_ONCE)

        async def leave(port: Port) -> None:
            async with gate:
                await port.stop()

        try:
            if self.options.deregister:
                async with asyncio.timeout(self.options.stop_timeout_s), asyncio.TaskGroup() as group:
                    for port in self._ports:
                        group.create_task(leave(port))
        except TimeoutError:
            pass  # a server that is away must not keep us
        finally:
            self.close()
            await self._workers.close()
            await self._resolver.close()

    def close(self) -> None:
        """Let all devices vanish at once."""
        for port in self._ports:
            port.close()
        self._ports.clear()

    async def _resolve(self) -> Server:
        host = self.options.host
        try:
            return await self._resolver.resolve(host, self.options.port)
        except OSError as error:
            raise UsageError(
                "host_unknown",
                f"no address for {clean(host)}: {error.strerror}",
                "check the name of the server",
            ) from error


async def run(options: SimOptions, say: Say | None = None) -> Statistics:
    """Run a fleet until cancelled, then deregister it; `say` is given a line at a time.

    Says when all devices are registered, then how they fare every `status_period_s`. Raises
    UsageError as `Fleet.start` does.
    """
    say = say or _write_line
    fleet = Fleet(options)
    await fleet.start()
    # A full collection over thousands of devices stops them all for a tenth of a second and more;
    # what they would have said meanwhile comes in one burst that no server's buffer holds.
    gc.collect()
    gc.freeze()
    try:
        await _watch(fleet, say)
    finally:
        await fleet.stop()
        gc.unfreeze()
        say(f"sim: stopped after {fleet.statistics.reports} reports")
    return fleet.statistics


async def _watch(fleet: Fleet, say: Say) -> None:
    loop = asyncio.get_running_loop()
    options, statistics = fleet.options, fleet.statistics
    say(f"sim: {options.count} devices, LwM2M {options.lwm2m_version}, {options.uri}")
    started = loop.time()
    complete = False
    told_at, told_reports = started, 0
    while True:
        await asyncio.sleep(_POLL_S)
        now = loop.time()
        if not complete and statistics.registered == options.count:
            complete = True
            gc.freeze()  # what the registrations brought
            say(f"sim: all {options.count} registered after {now - started:.1f} s")
        if now - told_at >= options.status_period_s:
            rate = (statistics.reports - told_reports) / (now - told_at)
            told_at, told_reports = now, statistics.reports
            say(status_line(options, statistics, rate))


def status_line(options: SimOptions, statistics: Statistics, rate: float) -> str:
    """One line on how the fleet fares; `rate` is reports per second."""
    missing = statistics.registered < options.count and statistics.last_failure
    return (
        f"sim: {statistics.registered}/{options.count} registered, {rate:.1f} reports/s, "
        f"{statistics.reports} reports, {statistics.requests_served} requests served, "
        f"{statistics.retransmissions} retransmissions, {statistics.failures} failures"
        + (f" (last Register: {statistics.last_failure})" if missing else "")
        + _dtls_status(options, statistics)
        + _bootstrap_status(options, statistics)
        + _firmware_status(statistics)
    )


def _dtls_status(options: SimOptions, statistics: Statistics) -> str:
    if options.credentials is None:
        return ""
    failed = statistics.last_handshake_failure
    return (
        f"; DTLS: {statistics.handshakes} handshakes, {statistics.handshakes_resumed} of them resumed, "
        f"{statistics.handshakes_failed} failed{f' (last: {failed})' if failed else ''}, "
        f"{statistics.records_unopened} records not opened, {statistics.sessions_ended} sessions ended"
        + (f", {statistics.rebindings} new ports" if options.rebind_every_s else "")
    )


def _bootstrap_status(options: SimOptions, statistics: Statistics) -> str:
    if not options.bootstrap:
        return ""
    failed = statistics.last_bootstrap_failure
    return (
        f"; {statistics.bootstraps} bootstraps, "
        f"{statistics.bootstraps_failed} failed{f' (last: {failed})' if failed else ''}"
    )


def _firmware_status(statistics: Statistics) -> str:
    if not (statistics.firmware_begun or statistics.firmware_failed):
        return ""
    return (
        f"; firmware: {statistics.firmware_begun} begun, {statistics.firmware_downloaded} downloaded, "
        f"{statistics.firmware_installed} installed, {statistics.firmware_failed} failed"
    )


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _allow_files(count: int, wanted: int) -> None:
    """Raise this process's own limit of open files, to what is wanted or as far as may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise UsageError(
            "too_many_devices",
            f"{count} open files are needed, {hard} are allowed",
            "start fewer devices, or raise the limit of open files (ulimit -Hn)",
        )
    chosen = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (chosen, hard))
