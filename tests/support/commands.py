"""Commands as an agent reads them, for tests."""

from __future__ import annotations

import json
from typing import Any

from vmlat_tui.protocol import commands
from vmlat_tui.protocol.commands import Command


def command(name: str, **fields: Any) -> Command:
    """Of the fields that it has in JSON."""
    return commands.decode(json.dumps({"command": name, **fields}).encode())
