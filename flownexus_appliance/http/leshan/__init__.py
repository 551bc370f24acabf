"""Leshan's demo API over what the box has, so that what drives a Leshan demo server drives this box.

What is served, and where it differs from Leshan's own: docs/leshan-api.md. It stands beside `/api/v1` and
shares its ports (`http.ports`), none of its shapes.
"""
