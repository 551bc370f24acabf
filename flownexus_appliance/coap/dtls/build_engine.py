"""Compiles `native/` into the module `_engine` (cffi's API mode); setup.py names this file.

Owns where mbedTLS is looked for, the compiler's flags, and which lines of `engine.h` Python may see.
Nothing that runs imports it: the daemon needs neither cffi's builder nor a compiler.

Environment, each of them optional:

- FLOWNEXUS_MBEDTLS_PREFIX: the folder with mbedTLS's include/ and lib/; empty for the compiler's own places,
  which are also taken when `.setup/mbedtls` (made by scripts/setup.sh where the system has none) is missing.
- FLOWNEXUS_ENGINE_CFLAGS, FLOWNEXUS_ENGINE_LDFLAGS: words after our own, for a build with sanitizers.
"""

import os
import re
import shlex
from pathlib import Path
from typing import Final

from cffi import FFI

# From the folder of setup.py, in which setuptools runs this: an sdist may hold no absolute path.
NATIVE: Final = "flownexus_appliance/coap/dtls/native"
ROOT: Final = Path(__file__).resolve().parents[3]

CFLAGS: Final = ["-O2", "-Wall", "-Wextra", "-Werror=implicit-function-declaration", "-fvisibility=hidden"]

LIBRARIES: Final = ["mbedtls", "mbedx509", "mbedcrypto"]

# The functions that cffi writes leave parameters unused; what native/ leaves unused is still reported.
PREAMBLE: Final = """
#pragma GCC diagnostic ignored "-Wunused-parameter"
#if !__has_include(<mbedtls/build_info.h>)
#error "mbedTLS 3.6 is missing: scripts/setup.sh brings it; in Debian 13 it is libmbedtls-dev"
#else
#include <mbedtls/build_info.h>
#if MBEDTLS_VERSION_NUMBER < 0x03060000 || MBEDTLS_VERSION_NUMBER >= 0x04000000
#error "this is not mbedTLS 3.6: scripts/setup.sh brings it; in Debian 13 it is libmbedtls-dev"
#endif
#endif
#include "engine.h"
"""


def declarations(header: str) -> str:
    """The lines of `header` between its two cdef marks; ValueError unless there is one such region."""
    regions = re.findall(r"^/\* cdef: begin \*/\n(.*?)^/\* cdef: end \*/$", header, re.MULTILINE | re.DOTALL)
    if len(regions) != 1:
        raise ValueError(f"engine.h: {len(regions)} regions between its cdef marks instead of 1")
    return str(regions[0])


def native_files(pattern: str) -> list[str]:
    """The files of native/ that match, by their paths from the folder of setup.py."""
    return sorted(f"{NATIVE}/{path.name}" for path in (ROOT / NATIVE).glob(pattern))


def mbedtls_prefix() -> Path | None:
    """The folder with mbedTLS's include/ and lib/; None: the compiler finds it by itself."""
    named = os.environ.get("FLOWNEXUS_MBEDTLS_PREFIX")
    if named is not None:
        return Path(named).resolve() if named else None
    private = ROOT / ".setup" / "mbedtls"
    return private if private.is_dir() else None


def library_folder(prefix: Path) -> Path:
    """Where under `prefix` the shared libraries are: lib/ or, as Debian has it, lib/<architecture>/."""
    found = sorted(prefix.glob("lib/libmbedtls.so")) + sorted(prefix.glob("lib/*/libmbedtls.so"))
    if not found:
        raise FileNotFoundError(f"no lib/libmbedtls.so under {prefix}, where mbedTLS 3.6 should be")
    return found[0].parent


def builder() -> FFI:
    """What setuptools compiles: cffi's generated module and native/*.c.

    cffi itself defines Py_LIMITED_API and asks for an abi3 module: this Python and every later one loads it.
    """
    include = [NATIVE]
    libraries = LIBRARIES
    objects: list[str] = []
    link: list[str] = []
    prefix = mbedtls_prefix()
    if prefix is not None:
        folder = library_folder(prefix)
        include.append(str(prefix / "include"))
        # By their paths: a Python may bring folders to look in before ours, with an older mbedTLS in them.
        libraries, objects = [], [f"{folder}/lib{name}.so" for name in LIBRARIES]
        # The old kind of rpath: libmbedtls has none of its own to find libmbedcrypto by.
        link = [f"-Wl,-rpath,{folder}", "-Wl,--disable-new-dtags"]
    ffi = FFI()
    ffi.cdef(declarations((ROOT / NATIVE / "engine.h").read_text(encoding="utf-8")))
    ffi.set_source(
        "flownexus_appliance.coap.dtls._engine",
        PREAMBLE,
        sources=native_files("*.c"),
        depends=native_files("*.h"),
        include_dirs=include,
        libraries=libraries,
        extra_objects=objects,
        extra_compile_args=CFLAGS + shlex.split(os.environ.get("FLOWNEXUS_ENGINE_CFLAGS", "")),
        extra_link_args=link + shlex.split(os.environ.get("FLOWNEXUS_ENGINE_LDFLAGS", "")),
    )
    return ffi


# The name setup.py asks for; cffi's hook runs this file under a name of its own.
if __name__ == "__cffi__":
    ffibuilder = builder()
