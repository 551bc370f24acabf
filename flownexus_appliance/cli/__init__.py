"""The `flownexus` command: one module a group of commands; what they say is on standard output."""

from .main import main as main
