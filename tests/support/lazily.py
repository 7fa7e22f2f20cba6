"""Modules that are imported at first use: a job collects all tests and runs a part of them."""

from __future__ import annotations

from importlib import import_module
from typing import Any


class Lazily:
    """A module that takes long to import and that few tests use."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pytest looks for fixtures in whatever stands in a module of tests
            raise AttributeError(name)
        return getattr(import_module(self._name), name)
