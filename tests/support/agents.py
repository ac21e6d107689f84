"""An agent of a host that is made up, as a process of its own.

``python -m tests.support.agents LOG``: it writes the commands that it gets into LOG.  A VM called
``nobody`` has no device.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.support.frames import encoded, error_object
from tests.tui.streams import Stream
from vmlat_tui.errors import UsageError
from vmlat_tui.protocol.migrations import Raw

_READING_S = 0.05


def _give(*given: Raw) -> None:
    for frame in given:
        sys.stdout.buffer.write(encoded(frame))
    sys.stdout.buffer.flush()


def _packets(stream: Stream) -> Iterable[Raw]:
    from vmlat_tui.model.points import BOTH

    return [stream.packet(0, direction) for direction in BOTH]


def main(log: Path) -> None:
    """Obey."""
    stream, measuring = Stream(("web-1", "db-1"), flows=2), False
    commands: list[bytes] = []
    with log.open("w", encoding="utf-8") as written:
        while True:
            if commands or select.select([0], [], [], _READING_S)[0]:
                if not commands:
                    commands = os.read(0, 65536).splitlines() or [b'{"command": "stop"}']
                command: dict[str, Any] = json.loads(commands.pop(0))
                print(json.dumps(command), file=written, flush=True)
                if command["command"] == "configure" and command.get("measure", True):
                    measuring = True
                    points = stream.measuring()["points"]
                    _give({**stream.hello(), "points": points}, stream.links())
                    if command["discover"]:
                        _give(*_packets(stream), stream.topology())
                elif command["command"] == "configure":
                    _give(stream.hello(), stream.topology(), stream.vitals())
                elif command["command"] == "measure" and "vnet9" in command["vm_interfaces"]:
                    error = UsageError("vnet9 cannot be watched", "it is not there")
                    _give(error_object(error, id=None))
                elif command["command"] == "measure":
                    measuring = True
                    _give(stream.measuring(), stream.links())
                elif command["command"] == "stop":
                    _give(stream.stats(final=True))
                    return
            elif measuring:
                _give(stream.vitals(), *_packets(stream), stream.stats())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
