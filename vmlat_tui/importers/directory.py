"""All the files of one measurement: what each is, which end it was written at, and its readings."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.importers import averages, capture, lines, logs, tun_json
from vmlat_tui.importers.drop_detector import DropDetector
from vmlat_tui.importers.intake import Ignored, Intake, Side, Source
from vmlat_tui.importers.kick import Kick
from vmlat_tui.importers.lines import Text
from vmlat_tui.importers.tun_irq import TunIrq
from vmlat_tui.model.readings import Sink

#: Files below the given directories; more is a mistake, such as `/`.
_MOST_FILES = 1000
#: So much of a file tells what it is.
_GLANCE = 1 << 19
_WORDS = {
    **dict.fromkeys(("send", "sender", "src", "client", "source"), Side.SENDER),
    **dict.fromkeys(("recv", "receive", "receiver", "rx", "dst", "server"), Side.RECEIVER),
}


@dataclass(frozen=True)
class Ends:
    """Patterns of names (``*send*``) of the files that were written at either end."""

    sender: Sequence[str] = ()
    receiver: Sequence[str] = ()

    def side(self, path: Path) -> Optional[Side]:
        """What the patterns say."""
        for patterns, side in ((self.sender, Side.SENDER), (self.receiver, Side.RECEIVER)):
            for pattern in patterns:
                if fnmatch.fnmatch(path.name, pattern) or fnmatch.fnmatch(str(path), pattern):
                    return side
        return None


@dataclass
class Intaken:
    """Everything that was read."""

    sources: list[Source] = field(default_factory=list)
    #: Derived figures that a file of averages states, in nanoseconds.
    published_ns: dict[str, float] = field(default_factory=dict)
    #: Files that could not be opened.
    unreadable: list[str] = field(default_factory=list)


def files(paths: Iterable[Path]) -> list[Path]:
    """The regular files of these paths, directories with all below them, in order of name.

    Raises :class:`UsageError` for a path that does not exist, and for too many files.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            for directory, below, names in os.walk(path):
                below[:] = sorted(name for name in below if not name.startswith("."))
                for name in sorted(names):
                    file = Path(directory, name)
                    if not name.startswith(".") and file.is_file():
                        found[file] = None
                if len(found) > _MOST_FILES:
                    raise UsageError(f"{path} has more than {_MOST_FILES} files")
        elif path.exists():
            found[path] = None
        else:
            raise UsageError(f"there is no {path}")
    return list(found)


def read(paths: Iterable[Path], sink: Sink, ends: Ends) -> Intaken:
    """Read all files into ``sink``."""
    found = Intaken()
    looked: list[tuple[Source, str]] = []
    for path in files(paths):
        try:
            looked.append(_look(path))
        except UsageError as error:
            found.unreadable.append(str(error))
    _decide([source for source, _ in looked], ends)
    for first, kind in looked:
        source = Source(Text(first.text.path), side=first.side, side_reason=first.side_reason)
        intake = Intake(source, sink)
        if kind == "averages":
            found.published_ns.update(averages.read(intake))
        elif kind == "tun_json":
            tun_json.read(intake)
        elif kind == "capture":
            capture.read_capture(intake)
        elif kind == "recording":
            capture.read_recording(intake)
        else:
            logs.read(intake)
        found.sources.append(source)
    return found


def _look(path: Path) -> tuple[Source, str]:
    """What a file seems to be, from its beginning."""
    source = Source(Text(path))
    with lines.open_regular(path) as file:
        head = "".join(lines.decoded(Text(path), file, 1))
    for kind, module in (("averages", averages), ("tun_json", tun_json)):
        if module.recognised(head):
            return source, kind
    own = capture.recognised(head)
    if own:
        return source, own
    logs.read(Intake(source, Ignored()), _GLANCE)
    return source, "log"


def _decide(sources: Sequence[Source], ends: Ends) -> None:
    """Which end each was written at: told, by its content, by its name, by comparing two hosts."""
    for source in sources:
        told = ends.side(source.text.path)
        if told:
            source.side, source.side_reason = told, "told"
        elif source.banner_side:
            source.side, source.side_reason = source.banner_side, "its interfaces"
        else:
            source.side = _by_name(source)
            source.side_reason = "its name" if source.side else ""
    hosts = [source for source in sources if source.totals_ns[0]]
    if len(hosts) != 2:
        return
    for one, other in (hosts, hosts[::-1]):
        if one.side is not None:
            continue
        if other.side is not None:
            one.side, one.side_reason = other.side.other, "the other host is known"
        elif _mean(one) != _mean(other):
            longer = _mean(one) > _mean(other)
            one.side = Side.SENDER if longer else Side.RECEIVER
            one.side_reason = f"its total is {'longer' if longer else 'shorter'}"


def _mean(source: Source) -> float:
    count, total = source.totals_ns
    return total / count


def _by_name(source: Source) -> Optional[Side]:
    words = re.findall("[a-z]+", source.text.path.name.lower())
    tools = source.tools
    if TunIrq.name in tools or Kick.name in tools:
        # A request enters the receiver's guest and leaves the sender's.
        request = Side.RECEIVER if TunIrq.name in tools else Side.SENDER
        if "request" in words:
            return request
        if "reply" in words:
            return request.other
    elif DropDetector.name not in tools:
        return None
    said = {_WORDS[word] for word in words if word in _WORDS}
    return said.pop() if len(said) == 1 else None
