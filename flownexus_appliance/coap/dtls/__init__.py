"""DTLS 1.2 with connection IDs (RFC 6347, RFC 9146), for the server and for simulated devices.

`native/` holds the engine in C over mbedTLS 3.6, `build_engine.py` compiles it into `_engine`, `engine.py`
gives it to the rest. No cryptography is done here: mbedTLS does it.
"""
