"""Firmware over the air: packages, how devices come to them, updates and campaigns."""
