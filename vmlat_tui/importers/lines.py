"""Lines of a file that nobody vouches for, in bounded memory.

The encoding is recognised (UTF-8, UTF-16 with or without a mark; any byte that is not of it stays
as a lone surrogate), NULs go, lines end with LF or CR LF, and what is longer than :data:`LONGEST`
is cut off there.  A ``.gz`` is decompressed.
"""

from __future__ import annotations

import re
import zlib
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Optional

from vmlat_tui.safe_files import open_regular

#: Characters of a line; the longest that a tool prints has less than 500.
LONGEST = 16_384
_CHUNK = 1 << 18
_SURROGATES = re.compile("[\udc80-\udcff]")


@dataclass
class Text:
    """What was met while a file was read."""

    path: Path
    encoding: str = "utf-8"
    size: int = 0
    lines: int = 0
    overlong: int = 0
    nuls: int = 0
    undecodable: bool = False
    #: Why it ended before its end.
    broken: str = ""
    #: The directory that it was found below: no link leads out of that.
    below: Optional[Path] = None

    def open(self) -> BufferedIOBase:
        """Open it for reading bytes; raises :class:`.UsageError` for what is not a regular file."""
        return open_regular(self.path, self.below)


def encoding_of(head: bytes) -> str:
    """The encoding of a text that begins so."""
    if head.startswith(BOM_UTF8):
        return "utf-8-sig"
    if head.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    # Text of Latin letters in UTF-16 has a NUL in every second place and none in the others.
    half = len(head) // 2
    if half >= 8 and head[1::2].count(0) > 0.6 * half and head[::2].count(0) < 0.1 * half:
        return "utf-16-le"
    if half >= 8 and head[::2].count(0) > 0.6 * half and head[1::2].count(0) < 0.1 * half:
        return "utf-16-be"
    return "utf-8"


def read(text: Text, limit: Optional[int] = None) -> Iterator[str]:
    """The lines without their ends; at most about ``limit`` bytes.  Notes in ``text`` what it met.

    Raises :class:`.UsageError` if the file cannot be opened.
    """
    with text.open() as file:
        tail, cut = "", False
        for piece in decoded(text, file, limit):
            parts = (tail + piece).split("\n")
            tail = parts.pop()
            if parts and cut:
                # The rest of a line of which the beginning was given already.
                parts[0], cut = "", False
                del parts[0]
            for line in parts:
                yield _whole(text, line)
            if len(tail) > LONGEST:
                if not cut:
                    yield _whole(text, tail)
                tail, cut = "", True
        if tail and not cut:
            yield _whole(text, tail)


def _whole(text: Text, line: str) -> str:
    text.lines += 1
    if len(line) > LONGEST:
        text.overlong += 1
        return line[:LONGEST]
    return line[:-1] if line.endswith("\r") else line


def decoded(text: Text, file: BufferedIOBase, limit: Optional[int]) -> Iterator[str]:
    """The text of an open file, piece by piece; ends quietly where it cannot be read on."""
    decoder = None
    ended = False
    while not ended and (limit is None or text.size < limit):
        try:
            # Of a damaged .gz it gives what it could decompress before.
            chunk = file.read1(_CHUNK)
        except (OSError, EOFError, zlib.error) as error:
            text.broken = str(error) or type(error).__name__
            chunk = b""
        if decoder is None:
            text.encoding = encoding_of(chunk[:4096])
            wide = text.encoding.startswith("utf-16")
            decoder = getincrementaldecoder(text.encoding)("replace" if wide else "surrogateescape")
        text.size += len(chunk)
        ended = not chunk
        try:
            piece = decoder.decode(chunk, ended)
        except UnicodeError as error:
            text.broken = str(error)
            return
        if not piece.isascii():
            text.undecodable |= _SURROGATES.search(piece) is not None or "\ufffd" in piece
        if "\0" in piece:
            text.nuls += piece.count("\0")
            piece = piece.replace("\0", "")
        yield piece
