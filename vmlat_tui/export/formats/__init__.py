"""The formats: one module each, whose name is the format's, and whose exporter is ``Format``.

A module that is added is offered by every command and to the screens.
"""

from __future__ import annotations

import importlib
import pkgutil

from vmlat_tui.export.exporter import Exporter

#: What a command prints unless told otherwise.
TEXT = "text"
JSON = "json"
#: All of them; those for people happen to be the last in the alphabet.
NAMES = tuple(sorted((found.name for found in pkgutil.iter_modules(__path__)), reverse=True))


def exporter(name: str) -> type[Exporter]:
    """The exporter of one of :data:`NAMES`."""
    found: type[Exporter] = importlib.import_module(f"{__name__}.{name}").Format
    return found
