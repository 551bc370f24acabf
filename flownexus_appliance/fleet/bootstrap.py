"""Gives devices their accounts: takes Bootstrap-Requests, drives each session over the wire.

LwM2M Core 1.1.1 6.1; Transport 1.1.1 6.4.2. The device is answered at once and then asked step by
step. Every secret is on disk before the device hears of it, so one that fails half-way comes again and
gets what is known. What to ask for is `lwm2m/bootstrap.py`, when to ask a device to come again
`bootstrap_renewal.py`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from ..db.credentials import Credential, CredentialOrigin, CredentialState, ProofKind
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
from ..lwm2m.bootstrap_plan import (
    CertificateMaterial,
    Material,
    Operation,
    PskMaterial,
    extra_writes,
    pack,
)
from ..lwm2m.core import Moment
from ..lwm2m.effects import Reply, Success
from ..lwm2m.links import format_links
from ..lwm2m.paths import Path
from ..lwm2m.plain import to_plain
from ..lwm2m.registration import Registration
from ..lwm2m.requests import check_endpoint
from ..lwm2m.values import TypeLookup
from .bootstrap_renewal import DeviceAuthority, Renewals
from .credentials import Credentials
from .ports import Action, Downlink, Method, Respond, Sender, Uplink, Wire

if TYPE_CHECKING:
    from .fleet import OperationResult

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
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BootstrapParts:
    """What bootstrap stands on.

    `types` are the data types of resources. `perform` does an operation on a registered device,
    `registration` is an endpoint's, `listens` whether it can be reached now.
    """

    store: Store
    bus: EventBus
    credentials: Credentials
    types: TypeLookup
    clock: Callable[[], Moment]
    perform: Callable[[str, str, Path], Awaitable["OperationResult"]]
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


class Bootstrap:
    """All bootstraps under way, and the configurations."""

    def __init__(self, parts: BootstrapParts) -> None:
        self._parts = parts
        self._wire: Wire | None = None
        self._authority: DeviceAuthority | None = None
        self._ports: Mapping[str, int] = {}
        self._configs: dict[str, BootstrapConfig] = {}
        self._unreadable: set[str] = set()
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
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
        self._authority = authority
        self._renewals.attach(authority)

    def listen_on(self, coap_port: int, coaps_port: int) -> None:
        """The ports that devices are sent to where no address is configured; 0 where there is none."""
        self._ports = {"coap": coap_port, "coaps": coaps_port}

    async def stop(self) -> None:
        """Break off what is under way; those devices come again."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._renewals.stop(), return_exceptions=True)

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

    async def trigger(self, endpoint: str) -> "OperationResult":
        """Ask a registered device to come and bootstrap now (Execute /1/x/9, LwM2M Core 1.1.1 E.2).

        Raises UsageError as `Fleet.perform`, and `bootstrap_unsupported`.
        """
        instance = await self._server_instance(endpoint)
        path = SERVER.child(instance).child(ServerResource.BOOTSTRAP_TRIGGER)
        return await self._parts.perform(endpoint, "execute", path)

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
                read = await self._parts.perform(endpoint, "read", path)
                if any(record.value == wanted for record in read.values):
                    return instance
        return instances[0]

    async def _ask_back(self, endpoint: str, reason: str) -> bool:
        """For a renewal; whether the device said that it will come."""
        try:
            result = await self.trigger(endpoint)
        except ApplianceError as error:
            self._tell(endpoint, "asked", False, f"{reason}: {error.message}")
            return False
        ok = result.status == "CONFIRMED"
        self._tell(endpoint, "asked", ok, f"{reason}: {result.code or result.message}")
        return ok

    def _gives_certificate(self, endpoint: str) -> int | None:
        """How long before its certificate ends a device is to come, in s; None where it gets none."""
        config = self._effective(endpoint)
        if config.instances is not None or config.security not in (Security.CERTIFICATE, Security.AS_IS):
            return None
        if config.security is Security.AS_IS and self._psk_of(endpoint) is not None:
            return None
        return config.renew_before_s

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
        if len(self._tasks) >= MAX_UNDER_WAY:
            respond(None)  # the device sends it again, and some have ended by then
            return
        keys = (job.sender.peer, job.endpoint)
        earlier = tuple({task for key in keys if (task := self._running.get(key)) is not None})
        for task in earlier:
            task.cancel()
        self._tell(endpoint, "requested", True, _how(job))
        if packed is None:
            respond(Reply(Success.CHANGED))
            work = self._run(job, earlier)
        else:
            work = self._answer_pack(job, packed, respond)
        started = self._spawn(work)
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

    async def _run(self, job: _Job, earlier: Sequence[asyncio.Task[None]]) -> None:
        session = BootstrapSession(job.config, job.request, self._parts.types)
        try:
            async with asyncio.timeout(SESSION_S):
                await asyncio.gather(*earlier, return_exceptions=True)
                async with self._turn:
                    await self._play(job, session)
                    if session.wants_material:
                        session.equip(await self._material(job), job.uri)
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

    async def _answer_pack(self, job: _Job, content_format: int, respond: Respond) -> None:
        outcome: Reply | PeerError | None = None
        try:
            payload = pack(job.config, await self._material(job), job.uri, self._parts.types, content_format)
            if len(payload) > MAX_PACK_BYTES:
                outcome = PeerError("not_found", "the pack is too large for one message", "use /bs")
            else:
                outcome = Reply(Success.CONTENT, payload=payload, content_format=content_format)
        except PeerError as error:
            outcome = error
        except ApplianceError as error:
            self._tell(job.endpoint, "failed", False, error.message)
        finally:
            respond(outcome)
        if isinstance(outcome, Reply):
            self._tell(job.endpoint, "packed", True, f"Content-Format {content_format}")

    # What a device proves itself by from now on

    async def _material(self, job: _Job) -> Material:
        """The device's credential, on disk before it is told. Raises ApplianceError."""
        config, credentials = job.config, self._parts.credentials
        if config.instances is not None or config.security is Security.NONE:
            return None
        if job.sender.enrolling:
            # A key, whatever is configured: its bootstrap account ends with the enrolment window, so
            # nothing that ends could be renewed.
            return _psk(await credentials.enrol(job.endpoint))
        own = self._psk_of(job.endpoint)
        if config.security is Security.CERTIFICATE or (config.security is Security.AS_IS and own is None):
            return await self._certificate(job.endpoint, bool(own))
        return _psk(await credentials.renew_psk(job.endpoint) if own is None else own)

    def _psk_of(self, endpoint: str) -> Credential | None:
        """The key to give a device again: one that waits to be brought, else the one it came with."""
        keys = [c for c in self._parts.credentials.of(endpoint) if c.kind is ProofKind.PSK]
        offered = [c for c in keys if c.state is CredentialState.OFFERED]
        return max(offered or keys, key=lambda c: (c.last_used_ms, c.id), default=None)

    async def _certificate(self, endpoint: str, has_psk: bool) -> CertificateMaterial:
        """A new certificate.

        Without a key the device came by a certificate and will come by it again, so the new one must
        not take its place: then it stands beside it, and of those made before only the last that was
        used stays.
        """
        authority, credentials = self._authority, self._parts.credentials
        if authority is None or not (roots := authority.roots()):
            raise UsageError("pki_empty", "the box has no certificate authority yet", "set its clock first")
        made = authority.issue(endpoint)
        before = [
            c
            for c in credentials.of(endpoint)
            if c.kind is ProofKind.CERTIFICATE and c.origin is CredentialOrigin.BOOTSTRAP
        ]
        await credentials.add_certificate(
            endpoint,
            made.certificate,
            made.fingerprint,
            made.serial,
            round(made.not_after.timestamp() * 1000),
            state=CredentialState.OFFERED if has_psk else CredentialState.ACTIVE,
            origin=CredentialOrigin.BOOTSTRAP,
        )
        if not has_psk:
            used = max((c.id for c in before if c.first_used_ms), default=None)
            for credential in before:
                if credential.id != used:
                    await credentials.remove(credential.id)
        return CertificateMaterial(made.certificate, made.key, roots[0])

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

    # Tasks

    def _spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="bootstrap")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _forget(self, keys: Sequence[str], done: asyncio.Task[None]) -> None:
        for key in keys:
            if self._running.get(key) is done:
                del self._running[key]


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


def _psk(credential: Credential) -> PskMaterial:
    return PskMaterial(credential.proof.value, credential.secret)


def _how(job: _Job) -> str:
    if job.sender.enrolling:
        return "with the enrolment key"
    return "over DTLS" if job.sender.secure else "over plain CoAP"


def _refused(endpoint: str, why: str, hint: str) -> PeerError:
    return PeerError("bootstrap_refused", f"no bootstrap for {clean(endpoint)}: {why}", hint)
