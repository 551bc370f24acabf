"""Where the DTLS engine's builder looks for mbedTLS, and which lines of the header it gives to Python."""

from pathlib import Path

import pytest
from cffi import FFI

from flownexus_appliance.coap.dtls import build_engine

BEGIN = "/* cdef: begin */\n"
END = "/* cdef: end */\n"


def test_declarations_are_what_stands_between_the_marks() -> None:
    header = f"#include <stdint.h>\n{BEGIN}int one(void);\nint two(void);\n{END}int three(void);\n"
    assert build_engine.declarations(header) == "int one(void);\nint two(void);\n"


@pytest.mark.parametrize(
    "header",
    ["int one(void);\n", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}", f" {BEGIN}int one(void);\n{END}"],
)
def test_header_without_exactly_one_marked_region(header: str) -> None:
    with pytest.raises(ValueError, match=r"engine\.h: [02] regions"):
        build_engine.declarations(header)


def test_cffi_reads_the_real_header() -> None:
    header = build_engine.ROOT / build_engine.NATIVE / "engine.h"
    ffi = FFI()
    ffi.cdef(build_engine.declarations(header.read_text(encoding="utf-8")))
    typedefs, _, _ = ffi.list_types()
    assert typedefs


def test_prefix_is_the_folder_setup_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLOWNEXUS_MBEDTLS_PREFIX", raising=False)
    monkeypatch.setattr(build_engine, "ROOT", tmp_path)
    assert build_engine.mbedtls_prefix() is None
    (tmp_path / ".setup" / "mbedtls").mkdir(parents=True)
    assert build_engine.mbedtls_prefix() == tmp_path / ".setup" / "mbedtls"


def test_prefix_of_the_environment_goes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_engine, "ROOT", tmp_path)
    (tmp_path / ".setup" / "mbedtls").mkdir(parents=True)
    monkeypatch.setenv("FLOWNEXUS_MBEDTLS_PREFIX", str(tmp_path / "other"))
    assert build_engine.mbedtls_prefix() == tmp_path / "other"
    monkeypatch.setenv("FLOWNEXUS_MBEDTLS_PREFIX", "")
    assert build_engine.mbedtls_prefix() is None


@pytest.mark.parametrize("folder", ["lib", "lib/aarch64-linux-gnu"])
def test_libraries_where_make_and_where_debian_puts_them(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "libmbedtls.so").touch()
    assert build_engine.library_folder(tmp_path) == tmp_path / folder


def test_prefix_without_libraries(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no lib/libmbedtls\.so under"):
        build_engine.library_folder(tmp_path)
