"""`flownexus sim`: simulated devices against an appliance, here or elsewhere."""

import argparse
import asyncio
import contextlib
import hashlib
import re
import signal
from collections.abc import Coroutine
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..errors import UsageError, clean
from ..system import logs

if TYPE_CHECKING:
    from ..sim.firmware_options import FirmwareOptions
    from ..sim.options import SimOptions

_SIZE: Final = re.compile(r"([0-9]{1,9})([kKmM]?)(?:i?[bB])?")
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20}
_OBJECTS: Final = {"5": (5,), "33629": (33629,), "both": (5, 33629), "none": ()}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("sim", help="run simulated devices against an appliance")
    _add_sim_options(parser)
    _add_firmware_options(parser)
    parser.set_defaults(run=_sim)


def _add_sim_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--count", type=int, help="how many devices (3)")
    parser.add_argument("--host", default="127.0.0.1", help="the appliance's address (127.0.0.1)")
    parser.add_argument("--port", type=int, help="its CoAP port (5683, or 5684 with --dtls)")
    parser.add_argument("--prefix", default="sim", help="names are PREFIX-0001 and so on (sim)")
    parser.add_argument("--name", default="", help="one device alone, of this name")
    parser.add_argument("--lifetime", type=int, default=300, help="registration lifetime, s (300)")
    parser.add_argument("--queue-mode", action="store_true", help="sleep between reports")
    parser.add_argument("--lwm2m", default="1.1", choices=("1.0", "1.1", "1.2"), help="version (1.1)")
    parser.add_argument("--format", type=int, help="preferred Content-Format, such as 110 or 11542")
    parser.add_argument("--period", type=float, default=5.0, help="seconds between samples (5)")
    parser.add_argument("--report", default="notify", choices=("notify", "send", "both"), help="how (notify)")
    parser.add_argument("--non", action="store_true", help="notify without asking to be acknowledged")
    parser.add_argument("--seed", type=int, default=1, help="settles the readings (1)")
    parser.add_argument("--awake", type=float, default=20.0, help="queue mode: listen so long, s (20)")
    parser.add_argument("--wake-every", type=float, default=60.0, help="queue mode: wake so often, s (60)")
    parser.add_argument("--vanish", action="store_true", help="stop without deregistering")
    dtls = parser.add_argument_group("DTLS", "{name} stands for a device's name, here and in file names")
    dtls.add_argument("--dtls", action="store_true", help="speak DTLS")
    dtls.add_argument("--psk", metavar="IDENTITY:HEXKEY", help="a PSK; derive:HEX for a key of each its own")
    dtls.add_argument("--psk-file", type=Path, metavar="FILE", help="lines of `name identity hexkey`")
    dtls.add_argument("--cert", metavar="FILE", help="the device's certificate, PEM or DER")
    dtls.add_argument("--key", metavar="FILE", help="its key")
    dtls.add_argument("--ca", metavar="FILE", help="the CA that the server's certificate is of")
    toggle = argparse.BooleanOptionalAction
    dtls.add_argument("--cid", action=toggle, default=True, help="use Connection IDs")
    dtls.add_argument("--own-cid", type=int, default=0, metavar="N", help="length of the device's own (0)")
    dtls.add_argument("--resume", action=toggle, default=True, help="resume sessions")
    parser.add_argument("--rebind-every", type=float, default=0.0, metavar="S", help="go on from a new port")
    parser.add_argument("--bootstrap", action="store_true", help="host and port are of a Bootstrap-Server")
    parser.add_argument("--bootstrap-hold", type=float, default=0.0, metavar="S", help="ask it after (0)")


def _add_firmware_options(parser: argparse.ArgumentParser) -> None:
    toggle = argparse.BooleanOptionalAction
    firmware = parser.add_argument_group("firmware", "what the devices run, and how updates of it go")
    add = firmware.add_argument
    add("--firmware-version", metavar="VERSION", help="what runs at first (1.0.0)")
    add("--firmware-object", choices=tuple(_OBJECTS), help="what it is updated by (5)")
    add("--firmware-method", choices=("pull", "push", "both"), help="how packages come (both)")
    add("--firmware-pull", metavar="LIST", help="of coap,coaps,http,https (coap, with --dtls coaps)")
    add("--firmware-block", type=int, metavar="BYTES", help="ask for blocks of this size: 16 to 1024 (512)")
    add("--firmware-block-seconds", type=float, metavar="S", help="write each one so long (0)")
    add("--firmware-push-block", type=int, metavar="BYTES", help="take blocks of up to this size (1024)")
    add("--firmware-max", metavar="SIZE", help="packages fit up to this size, such as 512k (64M)")
    add("--firmware-persist", action="store_true", help="state and result outlive a reboot, as with nRF")
    add(
        "--firmware-credential",
        choices=("server", "bootstrap"),
        help="after a bootstrap fetch packages by this account's (server); Zephyr: bootstrap",
    )
    add("--https-ca", metavar="FILE", help="verify HTTPS servers by these certificates (any will do)")
    add(
        "--update-outcome",
        action="append",
        metavar="[PATTERN=]OUTCOME",
        help="what becomes of updates (success), several in turn a,b,c, or for names that fit a pattern: "
        "result-2 to result-9, flaky, stall, deferred, slow, revert, unconfirmed, gone",
    )
    add("--update-seconds", type=float, metavar="S", help="an installation takes so long (3)")
    add("--update-new-port", action=toggle, default=True, help="then go on from a new port")
    add(
        "--make-package", nargs=2, metavar=("VERSION", "FILE"), help="write a package to try it with, and end"
    )
    add("--package-size", default="256k", metavar="SIZE", help="of that package (256k)")


def _make_package(version: str, file: Path, size: str) -> int:
    from ..sim.package import make_package

    package = make_package(version, _size_of(size))
    try:
        file.write_bytes(package)
    except OSError as error:
        raise UsageError(
            "file_unusable", f"cannot write {file}: {error.strerror}", "name another file"
        ) from error
    print(f"{file}: MCUboot image, version {version}, {len(package)} bytes, not signed")
    print(f"SHA-256 {hashlib.sha256(package).hexdigest()}")
    return 0


def _size_of(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise UsageError("size_invalid", f"{clean(text)} is no size", "write it as 262144, 256k or 1M")
    return int(found[1]) * _UNITS[found[2].lower()]


def _firmware(options: argparse.Namespace, fleet: "SimOptions") -> "FirmwareOptions":
    from ..lwm2m.firmware import DeliveryMethod
    from ..sim.firmware_options import read_outcomes, read_pulls

    given: dict[str, Any] = {
        "version": options.firmware_version,
        "objects": None if options.firmware_object is None else _OBJECTS[options.firmware_object],
        "method": options.firmware_method and DeliveryMethod[options.firmware_method.upper()],
        "pull": options.firmware_pull and read_pulls(options.firmware_pull),
        "block_size": options.firmware_block,
        "block_s": options.firmware_block_seconds,
        "push_block_size": options.firmware_push_block,
        "max_size": options.firmware_max and _size_of(options.firmware_max),
        "https_ca": options.https_ca,
        "outcome": options.update_outcome and read_outcomes(options.update_outcome, fleet.name),
        "update_s": options.update_seconds,
    }
    return replace(
        fleet.firmware,
        persistent=options.firmware_persist,
        first_credential=options.firmware_credential == "bootstrap",
        new_port=options.update_new_port,
        **{name: value for name, value in given.items() if value is not None},
    )


def _sim(options: argparse.Namespace) -> int:
    if options.make_package:
        version, file = options.make_package
        return _make_package(version, Path(file), options.package_size)
    from ..lwm2m.content_formats import ContentFormat
    from ..sim.channel import DtlsOptions
    from ..sim.credentials import choose
    from ..sim.fleet import run
    from ..sim.options import Reporting, SimOptions

    try:
        content_format = None if options.format is None else ContentFormat(options.format)
    except ValueError:
        known = ", ".join(f"{f.value} {f.name}" for f in ContentFormat)
        raise UsageError("format_unknown", f"no Content-Format {options.format}", f"one of {known}") from None
    wanted = replace(
        SimOptions(),
        count=(1 if options.name else 3) if options.count is None else options.count,
        host=options.host,
        port=(5684 if options.dtls else 5683) if options.port is None else options.port,
        prefix=options.prefix,
        only=options.name,
        lifetime_s=options.lifetime,
        queue_mode=options.queue_mode,
        lwm2m_version=options.lwm2m,
        content_format=content_format,
        sample_period_s=options.period,
        reporting=Reporting(options.report),
        confirmable=not options.non,
        seed=options.seed,
        awake_s=options.awake,
        wake_period_s=options.wake_every,
        deregister=not options.vanish,
        credentials=choose(
            options.dtls, options.psk, options.psk_file, (options.cert, options.key, options.ca)
        ),
        dtls=DtlsOptions(cid_bytes=options.own_cid if options.cid else None, resume=options.resume),
        rebind_every_s=options.rebind_every,
        bootstrap=options.bootstrap,
        bootstrap_hold_s=options.bootstrap_hold,
    )
    wanted = replace(wanted, firmware=_firmware(options, wanted))
    logs.set_up("info")
    asyncio.run(_until_stopped(run(wanted)))
    return 0


async def _until_stopped(work: Coroutine[Any, Any, object]) -> None:
    """Run until done, or until SIGINT or SIGTERM cancels it; it then cleans up."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
