"""A LwM2M server over DTLS, joined in memory to a simulated device; and a CA for the two."""

import datetime
import secrets
from dataclasses import dataclass, replace
from functools import cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from flownexus_appliance.coap.dtls.engine import (
    CLOSE_NOTIFY,
    Chain,
    Context,
    DtlsError,
    Kind,
    Ring,
    Session,
    frozen_id,
    hello_id,
)
from flownexus_appliance.sim.channel import Sessions
from flownexus_appliance.sim.credentials import Certificate, Credential, Credentials, Psk, PskPattern
from flownexus_appliance.sim.messages import Message, encode_message
from flownexus_appliance.sim.options import SimOptions

from .peer import Peer

KEY = bytes(range(16))
PSK = PskPattern("{name}", KEY)
SECURE = SimOptions(port=5684, credentials=PSK)
HANDSHAKE, ALERT, DATA, WITH_CID = 22, 21, 23, 25


class Server:
    """The DTLS of a server: sessions by Connection ID and by address, old ones to be resumed."""

    def __init__(self, chain: Chain | None = None, roots: tuple[bytes, ...] = (), cid: bool = True) -> None:
        self.ring = Ring()
        self._cid = cid
        self._context = Context(ring=self.ring, chain=chain, roots=roots)
        self.by_id: dict[bytes, Session] = {}
        self.by_address: dict[bytes, Session] = {}
        self.resumable: dict[bytes, bytes] = {}
        self.handshakes = 0
        self.closed = 0  # sessions that the device has ended
        self.failures: list[str] = []
        self._shaking: tuple[bytes, Session] | None = None

    def datagram(self, address: bytes, data: bytes) -> tuple[list[bytes], list[bytes], Session | None]:
        """What to send back, the messages that came, and the session they came by."""
        session = self.by_id.get(data[11:19]) if data[0] == WITH_CID else None
        if session is None and self._shaking is not None:
            return self._advance(address, data)
        session = session or self.by_address.get(address)
        if data[0] == HANDSHAKE and data[3:5] == b"\0\0":
            return self._hello(address, data)
        if session is None:
            return [], [], None
        opened = session.open(data)
        self.closed += opened.closed
        if opened.newest:
            self.by_address[address] = session
        return list(session.take()), list(opened.messages), session

    def forget(self) -> None:
        """Restart, with nothing saved."""
        self.by_id.clear()
        self.by_address.clear()
        self.resumable.clear()
        self._shaking = None

    def _hello(self, address: bytes, data: bytes) -> tuple[list[bytes], list[bytes], None]:
        session, cid = Session(self._context), secrets.token_bytes(8)
        session.use_cid(cid if self._cid else None)
        offered = self.resumable.get(hello_id(data))
        if offered:
            session.offer(offered)
        if session.hello(data, address):
            session.advance()
            self._shaking = cid, session
        return list(session.take()), [], None

    def _advance(self, address: bytes, data: bytes) -> tuple[list[bytes], list[bytes], None]:
        assert self._shaking is not None
        cid, session = self._shaking
        try:
            if session.advance(data):
                self._shaking = None
                self.handshakes += 1
                self.by_id[cid] = self.by_address[address] = session
                frozen = session.freeze()
                self.resumable[frozen_id(frozen)] = frozen
        except DtlsError as error:
            self._shaking = None
            self.failures.append(error.code)
        return list(session.take()), [], None


class SecurePeer(Peer):
    """As `Peer`, with a wire between the two on which only datagrams go."""

    def __init__(
        self,
        options: SimOptions = SECURE,
        index: int = 0,
        server: Server | None = None,
        sessions: Sessions | None = None,
    ) -> None:
        super().__init__(options, index, sessions)
        self.server = server or Server()
        self.places: list[tuple[str, int]] = []  # where the device was sent
        self.wire: list[bytes] = []  # all that the device has put on it
        self.deaf = False  # the server's datagrams are lost
        self._from_server: list[bytes] = []
        self._address = 1
        self._session: Session | None = None
        if server is None:
            self.allow(options.credentials)

    def allow(self, credentials: Credentials | None) -> None:
        """Let the device in that has what these give to its name."""
        assert credentials is not None
        credential = credentials.of(self.device.name)
        assert isinstance(credential, Psk)
        self.server.ring.put(Kind.PSK, credential.identity, credential.key)

    # The network

    @property
    def address(self) -> bytes:
        return f"{self.device.name}:{self._address}".encode()

    def connect(self, host: str, port: int) -> bool:
        self.places.append((host, port))
        self.rebind()
        return True

    def rebind(self) -> None:
        """The device has another address from now on."""
        self._address += 1

    def transmit(self, data: bytes) -> None:
        self.wire.append(data)
        answers, messages, session = self.server.datagram(self.address, data)
        self._from_server += answers
        self._session = session or self._session
        for message in messages:
            self._hear(message)

    def be_friendly(self) -> None:
        """Carry the server's datagrams to the device until nothing is under way."""
        super().be_friendly()
        while self._from_server:
            datagrams, self._from_server = self._from_server, []
            for data in datagrams:
                if not self.deaf:
                    self.device.receive(data, self.now)
            super().be_friendly()

    def say(self, message: Message) -> None:
        assert self._session is not None
        self.device.receive(self._session.seal(encode_message(message)), self.now)
        self.be_friendly()

    def end_session(self, number: int = CLOSE_NOTIFY) -> None:
        """The server closes the session, and knows nothing of it any more but how to resume it."""
        assert self._session is not None
        self._session.alert(number)
        self._from_server += self._session.take()
        for table in (self.server.by_id, self.server.by_address):
            for key in [key for key, session in table.items() if session is self._session]:
                del table[key]
        self.be_friendly()


@dataclass(frozen=True)
class Authority:
    """A CA with a P-256 key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def leaf(self, name: str, extra_bytes: int = 0) -> Chain:
        """A certificate with its key; with `extra_bytes` more in it."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, self.certificate.subject, key)
        if extra_bytes:
            names = [x509.DNSName(f"{'x' * 50}{number}.example") for number in range(extra_bytes // 60 + 1)]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        der = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
        return Chain((der,), key_der(key))


@dataclass(frozen=True)
class Fixed:
    """The same credential for every device."""

    credential: Credential

    def of(self, name: str) -> Credential:
        return self.credential


@cache
def authority(name: str) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = _builder(name, subject, key).add_extension(x509.BasicConstraints(True, None), critical=True)
    return Authority(builder.sign(key, hashes.SHA256()), key)


def certified(options: SimOptions = SECURE, trusted: str = "root", **extra: int) -> SecurePeer:
    """A device and a server with certificates; the device trusts the CA of that name."""
    chain = authority("root").leaf("sim-0001", **extra)
    credential = Certificate(chain, (authority(trusted).der,))
    server = Server(authority("root").leaf("box"), (authority("root").der,))
    server.ring.put(Kind.CERTIFICATE, fingerprint(chain.certificates[0]))
    return SecurePeer(replace(options, credentials=Fixed(credential)), server=server)


def fingerprint(der: bytes) -> bytes:
    return x509.load_der_x509_certificate(der).fingerprint(hashes.SHA256())


def key_der(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2090, 1, 1, tzinfo=datetime.UTC))
    )
