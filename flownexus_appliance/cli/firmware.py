"""`flownexus firmware`: packages, what is given to one device, what is given to many."""

import argparse

from . import campaigns, packages, updates


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = commands.add_parser("firmware", help="firmware packages, updates of devices, campaigns")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for part in (packages, updates, campaigns):
        part.add_to(actions)
