"""What an agent's process, or the ssh that leads to it, says on its standard error."""

from __future__ import annotations

import logging

from vmlat_tui import log

_log = logging.getLogger(__name__)

#: Bytes of the end that are kept, and of a line.
_KEPT, _LONGEST = 4096, 16384


class StandardError:
    """Takes it as it comes: an agent's log lines into ours, of all other words it keeps the end."""

    def __init__(self, name: str) -> None:
        """``name`` says in the log whose it is."""
        self._name = name
        self._words = bytearray()
        self._line = bytearray()

    def take(self, data: bytes) -> None:
        """What was said next."""
        self._line += data
        *lines, rest = bytes(self._line).split(b"\n")
        if len(rest) > _LONGEST:
            lines.append(rest)
            rest = b""
        self._line = bytearray(rest)
        for line in lines:
            self._sort(line)

    def _sort(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        level = log.level_of(text)
        if level is not None:
            _log.log(level, "[%s] %s", self._name, text)
            return
        if text.strip():
            _log.warning("[%s] says: %s", self._name, text)
        self._words += line + b"\n"
        del self._words[:-_KEPT]

    @property
    def words(self) -> str:
        """The end of what was said, without log lines."""
        return bytes(self._words + self._line)[-_KEPT:].decode(errors="replace")
