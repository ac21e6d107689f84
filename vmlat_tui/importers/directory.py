"""All the files of one measurement: what each is, which end it was written at, and its readings."""

from __future__ import annotations

import fnmatch
import logging
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.importers import averages, capture, lines, logs, tree, tun_json
from vmlat_tui.importers.drop_detector import DropDetector
from vmlat_tui.importers.kick import Kick
from vmlat_tui.importers.lines import Text
from vmlat_tui.importers.result import Ignored, ImportResult, Side, SourceFile
from vmlat_tui.importers.tun_irq import TunIrq
from vmlat_tui.model.readings import Sink

_log = logging.getLogger(__name__)

#: Of entries that are left out, so many are named.
_MOST_COMPLAINTS = 20
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
class Imported:
    """Everything that was read."""

    sources: list[SourceFile] = field(default_factory=list)
    #: Derived figures that a file of averages states, in nanoseconds.
    published_ns: dict[str, float] = field(default_factory=dict)
    #: What was left out, and why.
    unreadable: list[str] = field(default_factory=list)


def files(paths: Iterable[Path], complain: Callable[[str], None]) -> dict[Path, Optional[Path]]:
    """The files of these paths, those of directories with the directory, in order of name.

    Raises :class:`UsageError` for a path that does not exist, and for too many files.
    """
    found: dict[Path, Optional[Path]] = {}
    for path in paths:
        try:
            kind = path.stat().st_mode
        except OSError as error:
            raise UsageError(f"there is no {path}", error.strerror or str(error)) from None
        if stat.S_ISDIR(kind):
            found.update(dict.fromkeys(tree.below(path, complain), path))
        else:
            found[path] = None
    return found


def read(paths: Iterable[Path], sink: Sink, ends: Ends) -> Imported:
    """Read all files into ``sink``."""
    found = Imported()
    looked: list[tuple[SourceFile, str]] = []
    complaints: list[str] = []
    named = files(paths, complaints.append)
    found.unreadable += complaints[:_MOST_COMPLAINTS]
    if len(complaints) > _MOST_COMPLAINTS:
        found.unreadable.append(f"{len(complaints) - _MOST_COMPLAINTS} more were left out")
    for path, below in named.items():
        try:
            looked.append(_look(path, below))
        except UsageError as error:
            found.unreadable.append(str(error))
    _decide([source for source, _ in looked], ends)
    for first, kind in looked:
        text = Text(first.text.path, below=first.text.below)
        source = SourceFile(text, side=first.side, side_reason=first.side_reason)
        result = ImportResult(source, sink)
        if kind == "averages":
            found.published_ns.update(averages.read(result))
        elif kind == "tun_json":
            tun_json.read(result)
        elif kind == "capture":
            capture.read_capture(result)
        elif kind == "recording":
            capture.read_recording(result)
        else:
            logs.read(result)
        _log.info(
            "%s: %s of the %s by %s, %d lines; troubles: %s",
            *(text.path, kind, source.side, source.side_reason, text.lines, source.troubles),
        )
        found.sources.append(source)
    for complaint in found.unreadable:
        _log.warning("%s", complaint)
    return found


def _look(path: Path, below: Optional[Path]) -> tuple[SourceFile, str]:
    """What a file seems to be, from its beginning."""
    source = SourceFile(Text(path, below=below))
    with source.text.open() as file:
        head = "".join(lines.decoded(Text(path), file, 1))
    for kind, module in (("averages", averages), ("tun_json", tun_json)):
        if module.recognised(head):
            return source, kind
    own = capture.recognised(head)
    if own:
        return source, own
    logs.read(ImportResult(source, Ignored()), _GLANCE)
    return source, "log"


def _decide(sources: Sequence[SourceFile], ends: Ends) -> None:
    """Which end each was written at: by an option, its content, its name, or by comparing hosts."""
    for source in sources:
        given = ends.side(source.text.path)
        if given:
            source.side, source.side_reason = given, "an option"
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


def _mean(source: SourceFile) -> float:
    count, total = source.totals_ns
    return total / count


def _by_name(source: SourceFile) -> Optional[Side]:
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
