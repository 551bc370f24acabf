"""Two verifiers of certificate chains that nobody here wrote: the `openssl` program and x509.verification.

The program is in Debian's package "openssl"; without it these tests fail.
"""

import ipaddress
import re
import subprocess
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

# What `openssl verify` calls its errors.
EXPIRED, NOT_YET_VALID, NO_ISSUER, WRONG_PURPOSE, WRONG_HOST = 10, 9, 20, 26, 62


def openssl_error(
    roots: Sequence[bytes], chain: Sequence[bytes], at: datetime, *options: str, purpose: str = "sslserver"
) -> int:
    """The number of the error that `openssl verify` tells; 0 where it accepts. The chain's leaf is first."""
    with tempfile.TemporaryDirectory() as folder:
        for name, certificates in (("roots", roots), ("leaf", chain[:1]), ("others", chain[1:] or roots[:1])):
            Path(folder, name).write_bytes(pem(certificates))
        command = "openssl verify -x509_strict -no-CApath -no-CAstore -CAfile roots -untrusted others".split()
        command += ["-purpose", purpose, "-attime", str(int(at.timestamp())), *options, "leaf"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        assert "leaf: OK" in done.stdout
        return 0
    found = re.search(r"^error (\d+) at", done.stderr, re.MULTILINE)
    assert found is not None, done.stderr
    return int(found[1])


def accepted(roots: Sequence[bytes], chain: Sequence[bytes], at: datetime, host: str) -> bool:
    """Whether cryptography's verifier, whose rules are those for public servers, accepts a server's chain."""
    store = Store([x509.load_der_x509_certificate(root) for root in roots])
    try:
        subject: x509.DNSName | x509.IPAddress = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    leaf, *others = [x509.load_der_x509_certificate(certificate) for certificate in chain]
    verifier = PolicyBuilder().store(store).time(at).build_server_verifier(subject)
    try:
        verifier.verify(leaf, others)
    except VerificationError:
        return False
    return True


def pem(certificates: Sequence[bytes]) -> bytes:
    loaded = (x509.load_der_x509_certificate(certificate) for certificate in certificates)
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in loaded)
