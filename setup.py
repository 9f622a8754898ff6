"""Packaging lives in setup.cfg; this file exists for tools that still ask for it."""

from setuptools import setup

setup()
