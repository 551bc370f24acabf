"""Gives devices their accounts: takes Bootstrap-Requests, drives each session over the wire.

LwM2M Core 1.1.1 6.1; Transport 1.1.1 6.4.2. The device is answered at once and then asked step by
step. Every secret is on disk before the device hears of it, so one that fails half-way comes again and
gets what is known. What to ask for is in `lwm2m/bootstrap.py`, what a device proves itself by in
`bootstrap_material.py`, when it is asked to come again in `bootstrap_renewal.py`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from ..db.operations import EndpointOperation
from ..db.store import Store
from ..errors import ApplianceError, PeerError, UsageError, clean
from ..events import EventBus
from ..lwm2m.bootstrap import (
    PACK_FORMATS,
    Ask,
    BootstrapRequest,
    BootstrapSession,
    BootstrapState,
    Taken,
    parse_bootstrap_request,
)
from ..lwm2m.bootstrap_config import BootstrapConfig, Security, format_config, parse_config
from ..lwm2m.bootstrap_instances import SERVER, ServerResource
from ..lwm2m.bootstrap_plan import Operation, extra_writes, pack
from ..lwm2m.core import Moment
from ..lwm2m.effects import Reply, Success
from ..lwm2m.links import format_links
from ..lwm2m.operations import Kind, Status
from ..lwm2m.operations import Operation as DeviceOperation
from ..lwm2m.plain import to_plain
from ..lwm2m.registration import Registration
from ..lwm2m.requests import check_endpoint
from ..lwm2m.values import TypeLookup
from .bootstrap_material import DeviceAuthority, Materials
from .bootstrap_renewal import Renewals
from .credentials import Credentials
from .ports import Action, Downlink, Method, Respond, Sender, Uplink, Wire

AT_ONCE: Final = 32
MAX_UNDER_WAY: Final = 1000
# Zephyr gives up a bootstrap that has taken longer (EXCHANGE_LIFETIME, RFC 7252 4.8.2).
SESSION_S: Final = 247.0
STEP_S: Final = 60.0
# A reply of the server goes out in one message.
MAX_PACK_BYTES: Final = 1024
FINISH_PATH: Final = "/bs"
_METHODS: Final = {
    Operation.DISCOVER: Method.GET,
    Operation.READ: Method.GET,
    Operation.DELETE: Method.DELETE,
    Operation.WRITE: Method.PUT,
    Operation.FINISH: Method.POST,
}
# What has one bootstrap at a time: a peer, an endpoint. A stranger may choose a name that is another's peer.
_Key = tuple[str, str]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BootstrapParts:
    """What bootstrap stands on.

    `types` are the data types of resources. `ask` does an operation on a device that listens,
    `registration` is an endpoint's, `listens` whether it can be reached now.
    """

    store: Store
    bus: EventBus
    credentials: Credentials
    types: TypeLookup
    clock: Callable[[], Moment]
    ask: Callable[[str, DeviceOperation], Awaitable[EndpointOperation]]
    registration: Callable[[str], Registration | None]
    listens: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Job:
    """One device's bootstrap: who it is, what it is to get and where it is to go with that."""

    endpoint: str
    sender: Sender
    request: BootstrapRequest
    config: BootstrapConfig
    uri: str


class _Lane:
    """The bootstraps of one kind of sender, each with its own bounds: nobody knows who speaks plain CoAP,
    and those must not be able to keep out the others."""

    def __init__(self) -> None:
        self.turn = asyncio.Semaphore(AT_ONCE)
        self.tasks: set[asyncio.Task[None]] = set()


class Bootstrap:
    """All bootstraps under way, and the configurations."""

    def __init__(self, parts: BootstrapParts) -> None:
        self._parts = parts
        self._wire: Wire | None = None
        self._materials = Materials(parts.credentials)
        self._ports: Mapping[str, int] = {}
        self._configs: dict[str, BootstrapConfig] = {}
        self._unreadable: set[str] = set()
        self._secure = _Lane()
        self._plain = _Lane()
        self._running: dict[_Key, asyncio.Task[None]] = {}
        self._stopped = False
        self._renewals = Renewals(
            parts.credentials, parts.registration, parts.listens, self._gives_certificate, self._ask_back
        )

    def start(self, kept: Mapping[str, str], wire: Wire) -> None:
        """Take up the configurations that an earlier run kept: JSON by endpoint, "" for the default."""
        self._wire = wire
        for endpoint, text in kept.items():
            try:
                self._configs[endpoint] = parse_config(text)
            except UsageError as error:
                # Who has a configuration that this version cannot read must not get another's.
                self._unreadable.add(endpoint)
                log.error(
                    "bootstrap configuration unreadable",
                    extra={"ENDPOINT": endpoint, "ERROR_CODE": error.code},
                )

    def attach(self, authority: DeviceAuthority) -> None:
        """Give it who makes certificates; without one it gives none."""
        self._materials.attach(authority)
        self._renewals.attach(authority)

    def listen_on(self, coap_port: int, coaps_port: int) -> None:
        """The ports that devices are sent to where no address is configured; 0 where there is none."""
        self._ports = {"coap": coap_port, "coaps": coaps_port}

    async def stop(self) -> None:
        """Break off what is under way; those devices come again."""
        self._stopped = True
        tasks = [*self._secure.tasks, *self._plain.tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, self._renewals.stop(), return_exceptions=True)

    def tick(self, moment: Moment) -> None:
        """What time brings about: devices whose certificates end are asked to come."""
        self._renewals.tick(moment)

    # Configurations

    def config(self, endpoint: str) -> BootstrapConfig | None:
        """A name's own configuration, None where it has none. For "" there is always one."""
        return self._configs.get(endpoint) or (None if endpoint else BootstrapConfig())

    def configs(self) -> Mapping[str, BootstrapConfig]:
        """All that were configured, by endpoint; "" is the default where it was changed."""
        return dict(self._configs)

    async def put_config(self, endpoint: str, config: BootstrapConfig | None) -> None:
        """Keep a configuration in place of an earlier one; None takes it away. Done when it is on disk.

        Raises UsageError: `endpoint_invalid`, `value_invalid` (of a resource to be written), StoreError.
        """
        if endpoint:
            check_endpoint(endpoint, UsageError)
        if config is not None:
            extra_writes(config, self._parts.types)
        self._parts.store.put_bootstrap_config(endpoint, None if config is None else format_config(config))
        await asyncio.shield(self._parts.store.commit())
        self._unreadable.discard(endpoint)
        if config is None:
            self._configs.pop(endpoint, None)
        else:
            self._configs[endpoint] = config
        log.info("bootstrap configured", extra={"ENDPOINT": endpoint})

    # Server-initiated

    async def trigger(self, endpoint: str) -> EndpointOperation:
        """Ask a registered device to come and bootstrap now (Execute /1/x/9, LwM2M Core 1.1.1 E.2).

        UsageError: `endpoint_unknown`, `endpoint_offline`, `endpoint_asleep`, `bootstrap_unsupported`.
        """
        instance = await self._server_instance(endpoint)
        path = SERVER.child(instance).child(ServerResource.BOOTSTRAP_TRIGGER)
        return await self._parts.ask(endpoint, DeviceOperation(Kind.EXECUTE, (path,)))

    def due(self) -> Mapping[str, str]:
        """Who is to come again, and why, as far as it was looked."""
        return self._renewals.due()

    async def _server_instance(self, endpoint: str) -> int:
        """Our instance of the device's Server object: by its Short Server ID where it has several."""
        registration = self._parts.registration(endpoint)
        if registration is None:
            return 0  # the request itself tells what is wrong
        instances = registration.instances.get(SERVER[0], ())
        if not instances:
            raise UsageError(
                "bootstrap_unsupported",
                f"{clean(endpoint)} names no instance of its Server object (1)",
                "restart the device: it bootstraps when it starts, if it is made for that",
            )
        if len(instances) > 1:
            wanted = self._effective(endpoint).short_server_id
            for instance in instances:
                path = SERVER.child(instance).child(ServerResource.SHORT_SERVER_ID)
                read = await self._parts.ask(endpoint, DeviceOperation(Kind.READ, (path,)))
                if any(record.value == wanted for record in read.outcome.records):
                    return instance
        return instances[0]

    async def _ask_back(self, endpoint: str, reason: str) -> bool:
        """For a renewal; whether the device said that it will come."""
        try:
            result = await self.trigger(endpoint)
        except ApplianceError as error:
            self._tell(endpoint, "asked", False, f"{reason}: {error.message}")
            return False
        ok = result.status is Status.CONFIRMED
        self._tell(endpoint, "asked", ok, f"{reason}: {result.outcome.code or result.outcome.message}")
        return ok

    def _gives_certificate(self, endpoint: str) -> int | None:
        """How long before its certificate ends a device is to come, in s; None where it gets none."""
        config = self._effective(endpoint)
        return config.renew_before_s if self._materials.certifies(endpoint, config) else None

    # Client-initiated

    def receive(self, endpoint: str, uplink: Uplink, respond: Respond) -> None:
        """A Bootstrap-Request or Bootstrap-Pack-Request of an endpoint that may act as itself.

        `respond` is called once, but for PeerError: `bootstrap_refused`, `not_acceptable`, `query_invalid`.
        """
        try:
            job = self._admit(endpoint, uplink)
            packed = _pack_format(uplink.accept) if uplink.action is Action.BOOTSTRAP_PACK else None
        except PeerError as error:
            self._tell(endpoint, "refused", False, error.message)
            raise
        lane = self._secure if job.sender.secure else self._plain
        if self._stopped or len(lane.tasks) >= MAX_UNDER_WAY:
            respond(None)  # the device sends it again, and some have ended by then
            return
        keys: tuple[_Key, ...] = (("peer", job.sender.peer), ("endpoint", job.endpoint))
        earlier = tuple({task for key in keys if (task := self._running.get(key)) is not None})
        for task in earlier:
            task.cancel()
        self._tell(endpoint, "requested", True, _how(job))
        if packed is None:
            respond(Reply(Success.CHANGED))
            started = asyncio.create_task(self._run(job, lane, earlier), name="bootstrap")
        else:
            answer = _Answer(respond)
            started = asyncio.create_task(self._make_pack(job, packed, answer), name="bootstrap")
            started.add_done_callback(answer.send)
        lane.tasks.add(started)
        started.add_done_callback(lane.tasks.discard)
        self._running.update(dict.fromkeys(keys, started))
        started.add_done_callback(partial(self._forget, keys))

    def _admit(self, endpoint: str, uplink: Uplink) -> _Job:
        """What a device is to get, if it may; secrets do not go in the clear."""
        request = parse_bootstrap_request(uplink.query)
        if endpoint in self._unreadable or (endpoint not in self._configs and "" in self._unreadable):
            raise _refused(endpoint, "its bootstrap configuration cannot be read", "configure it anew")
        config, sender = self._effective(endpoint), uplink.sender
        if config.secure and not sender.secure:
            raise _refused(
                endpoint, "keys are not sent in the clear", "come over DTLS, or configure security none"
            )
        return _Job(endpoint, sender, request, config, self._uri(endpoint, config, sender))

    def _effective(self, endpoint: str) -> BootstrapConfig:
        return self._configs.get(endpoint) or self._configs.get("") or BootstrapConfig()

    def _uri(self, endpoint: str, config: BootstrapConfig, sender: Sender) -> str:
        """Where the device is to register: as configured, else where it reached us."""
        if config.uri or config.instances is not None:
            return config.uri
        scheme = "coap" if config.security is Security.NONE else "coaps"
        port = self._ports.get(scheme)
        host = sender.local_host.partition("%")[0]  # a zone means nothing on another machine
        if not host or not port:
            raise _refused(endpoint, f"no {scheme} address to send it to", "configure its uri")
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    async def _run(self, job: _Job, lane: _Lane, earlier: Sequence[asyncio.Task[None]]) -> None:
        session = BootstrapSession(job.config, job.request, self._parts.types)
        try:
            async with asyncio.timeout(SESSION_S):
                await asyncio.gather(*earlier, return_exceptions=True)
                async with lane.turn:
                    await self._play(job, session)
                    if session.wants_material:
                        session.equip(
                            await self._materials.make(job.endpoint, job.config, job.sender.enrolling),
                            job.uri,
                        )
                        await self._play(job, session)
        except TimeoutError:
            session.fail(f"it took more than {SESSION_S:.0f} s")
        except ApplianceError as error:
            session.fail(error.message)
        except Exception:
            # A defect must not be the end of other devices' bootstraps; this one comes again.
            log.exception("bootstrap broke", extra={"ENDPOINT": job.endpoint})
            session.fail("a defect of the appliance, see its log")
        self._end(job, session)

    async def _play(self, job: _Job, session: BootstrapSession) -> None:
        """Ask the device what the session wants asked, until that wants material or is over."""
        assert self._wire is not None, "no wire attached"
        while (ask := session.ask()) is not None:
            reply = await self._wire.request(job.sender.peer, _downlink(ask))
            taken = session.answered(reply.code, reply.content_format, reply.payload)
            if taken is not None:
                self._tell_step(job.endpoint, taken)

    def _end(self, job: _Job, session: BootstrapSession) -> None:
        if session.state is BootstrapState.FINISHED:
            self._renewals.renewed(job.endpoint)
            self._tell(job.endpoint, "finished", True, "")
        else:
            self._tell(job.endpoint, "failed", False, session.reason)

    # Bootstrap-Pack

    async def _make_pack(self, job: _Job, content_format: int, answer: "_Answer") -> None:
        too_large = PeerError("not_found", "the pack is too large for one message", "use /bs")
        if not job.sender.enrolling and self._materials.certifies(job.endpoint, job.config):
            answer.outcome = too_large  # a certificate with its key and root always is; none is made in vain
            return
        try:
            material = await self._materials.make(job.endpoint, job.config, job.sender.enrolling)
            payload = pack(job.config, material, job.uri, self._parts.types, content_format)
        except PeerError as error:
            answer.outcome = error
        except ApplianceError as error:
            self._tell(job.endpoint, "failed", False, error.message)
        except Exception:
            log.exception("bootstrap broke", extra={"ENDPOINT": job.endpoint})
        else:
            if len(payload) > MAX_PACK_BYTES:
                answer.outcome = too_large
            else:
                answer.outcome = Reply(Success.CONTENT, payload=payload, content_format=content_format)
                self._tell(job.endpoint, "packed", True, f"Content-Format {content_format}")

    # Telling

    def _tell_step(self, endpoint: str, taken: Taken) -> None:
        more: dict[str, Any] = {"path": str(taken.path)}
        if taken.links:
            more["links"] = format_links(taken.links).decode()
        if taken.records:
            more["values"] = {str(record.path): to_plain(record.value) for record in taken.records}
        message = f"{taken.code} {taken.message}".rstrip()
        self._tell(endpoint, taken.operation.value, taken.ok, message, more)

    def _tell(
        self, endpoint: str, step: str, ok: bool, message: str, more: Mapping[str, Any] | None = None
    ) -> None:
        """One event and one line in the log a step; neither ever holds a value of Security."""
        path = "" if more is None else str(more["path"])
        log.log(
            logging.INFO if ok or path else logging.WARNING,
            "bootstrap step",
            extra={"ENDPOINT": endpoint, "STEP": step, "OK": ok, "PATH": path, "MESSAGE_TEXT": message},
        )
        self._parts.bus.publish(
            "bootstrap",
            {
                "endpoint": endpoint,
                "step": step,
                "ok": ok,
                "message": message,
                "time_ms": self._parts.clock().wall_ms,
                **(more or {}),
            },
        )

    def _forget(self, keys: Sequence[_Key], done: asyncio.Task[None]) -> None:
        for key in keys:
            if self._running.get(key) is done:
                del self._running[key]


@dataclass(slots=True)
class _Answer:
    """How a Bootstrap-Pack-Request is answered, once its task has ended, however that was."""

    respond: Respond
    outcome: Reply | PeerError | None = None

    def send(self, _: object) -> None:
        self.respond(self.outcome)


def _downlink(ask: Ask) -> Downlink:
    return Downlink(
        _METHODS[ask.operation],
        ask.path,
        root_path=FINISH_PATH if ask.operation is Operation.FINISH else "/",
        payload=ask.payload,
        content_format=ask.content_format,
        accept=ask.accept,
        timeout_s=STEP_S,
    )


def _pack_format(accept: int | None) -> int:
    for known in PACK_FORMATS:
        if accept in (None, known):
            return int(known)
    raise PeerError("not_acceptable", f"no Bootstrap-Pack in Content-Format {accept}", "ask for 112")


def _how(job: _Job) -> str:
    if job.sender.enrolling:
        return "with the enrolment key"
    return "over DTLS" if job.sender.secure else "over plain CoAP"


def _refused(endpoint: str, why: str, hint: str) -> PeerError:
    return PeerError("bootstrap_refused", f"no bootstrap for {clean(endpoint)}: {why}", hint)
