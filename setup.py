"""Lets tools that know only setup.py build the package; everything it says is in setup.cfg."""

from setuptools import setup

setup()
