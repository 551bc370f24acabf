"""Pre-shared keys and their identities: what is made up, and what is taken from the operator.

RFC 4279 sections 5.1 and 5.2 (identities and keys); Zephyr and Nordic name a device's identity after
its endpoint, and so does the box.
"""

import secrets
from collections.abc import Iterator
from typing import Final

from ..db.credentials import Credential, Proof, ProofKind, identity_text
from ..errors import UsageError, clean

GENERATED_KEY_BYTES: Final = 16
MIN_KEY_BYTES: Final = 16
MAX_KEY_BYTES: Final = 48  # MBEDTLS_PSK_MAX_LEN as Debian builds it
MAX_IDENTITY_BYTES: Final = 128


def make_key() -> bytes:
    """128 random bits: what Zephyr's default buffer holds."""
    return secrets.token_bytes(GENERATED_KEY_BYTES)


def identities(endpoint: str) -> Iterator[bytes]:
    """Identities for an endpoint, the best first and without an end: its name, `name-2`, random ones."""
    name = endpoint.encode()
    if len(name) <= MAX_IDENTITY_BYTES - 4:
        yield name
        for number in range(2, 1000):
            yield name + f"-{number}".encode()
    while True:
        yield secrets.token_hex(8).encode()


def check_identity(identity: bytes) -> None:
    """Raises UsageError("identity_invalid")."""
    if not 1 <= len(identity) <= MAX_IDENTITY_BYTES:
        raise UsageError(
            "identity_invalid",
            f"a PSK identity of {len(identity)} bytes",
            f"use 1 to {MAX_IDENTITY_BYTES} bytes; many devices hold no more than 32",
        )


def check_key(key: bytes) -> None:
    """Raises UsageError("key_invalid")."""
    if not MIN_KEY_BYTES <= len(key) <= MAX_KEY_BYTES:
        raise UsageError(
            "key_invalid",
            f"a pre-shared key of {len(key)} bytes",
            f"use {MIN_KEY_BYTES} to {MAX_KEY_BYTES} random bytes, or let the box make them",
        )


def taken(proof: Proof, owner: Credential | None) -> UsageError:
    """What to say of a proof that stands for somebody already (None: for the box itself)."""
    what = "this certificate"
    if proof.kind is ProofKind.PSK:
        what = f"the PSK identity {clean(identity_text(proof.value))}"
    whose = "is in use" if owner is None else f"belongs to {clean(owner.endpoint)}"
    return UsageError("identity_taken", f"{what} {whose}", "choose another, or remove the one that has it")
