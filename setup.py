"""Names the one thing that setup.cfg cannot: the extension in C. Everything else is said there."""

from setuptools import setup

setup(cffi_modules=["flownexus_appliance/coap/dtls/build_engine.py:ffibuilder"])
