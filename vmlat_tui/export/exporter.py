"""The one interface of output: what commands and screens print, and what puts it into a format.

A command makes :class:`Part` s, in the order in which they come to be known, and knows no format; a
format is an :class:`Exporter`, one module of :mod:`vmlat_tui.export.formats`, and knows no command.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, TextIO

from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables.columns import Column
from vmlat_tui.tables.grid import Grid

# ---- of commands --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Prose:
    """Sentences under a heading.

    ``lines`` takes what makes a name from outside harmless in a format.
    """

    title: str
    lines: Callable[[Callable[[str], str]], Iterable[str]]


@dataclass(frozen=True)
class Remark:
    """How far to trust the figures; cleaned.  ``of`` is whose they are, where that is a question.

    One that is indented belongs to the one before.
    """

    words: str
    of: str = ""


@dataclass(frozen=True)
class Document:
    """A report for people, in its order."""

    title: str
    tables: Sequence[Grid[Any]]
    prose: Sequence[Prose]
    remarks: Sequence[Remark]


class Part:
    """Something that a command prints.  Each face is made when a format asks for it.

    Not every part has every face: the lines of a capture are for programs only.
    """

    def values(self) -> Iterable[Raw]:
        """For programs: objects with the values themselves, in nanoseconds; names as they are."""
        return ()

    def text(self) -> Iterable[str]:
        """For people: lines or blocks of lines, laid out; names cleaned."""
        return ()

    def document(self) -> Optional[Document]:
        """For people, where it is a report, instead of :meth:`text`."""
        return None


@dataclass(frozen=True)
class Record(Part):
    """One object, which is one block of text."""

    value: Callable[[], Raw]
    block: Callable[[], str]

    def values(self) -> Iterable[Raw]:
        """The object."""
        return (self.value(),)

    def text(self) -> Iterable[str]:
        """The block."""
        return (self.block(),)


@dataclass(frozen=True)
class Report(Part):
    """A report that is known as a whole, with its objects."""

    report: Document
    objects: Sequence[Raw] = ()

    def document(self) -> Document:
        """The report."""
        return self.report

    def values(self) -> Iterable[Raw]:
        """The objects."""
        return self.objects


@dataclass(frozen=True)
class Words(Part):
    """What only people need."""

    words: str

    def text(self) -> Iterable[str]:
        """As it is."""
        return (self.words,)


@dataclass(frozen=True)
class Values(Part):
    """What only programs need."""

    value: Raw

    def values(self) -> Iterable[Raw]:
        """As it is."""
        return (self.value,)


# ---- of screens ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sheet:
    """A table as it stands on the screen: all columns, the rows that the filter leaves."""

    id: str
    columns: Sequence[Column[Any]]
    rows: Sequence[Any]


@dataclass(frozen=True)
class Page:
    """A screen: its title, what is said above (host, time, span, filter), its tables."""

    title: str
    facts: Mapping[str, str]
    sheets: Sequence[Sheet]


# ---- formats ------------------------------------------------------------------------------------


class Exporter(ABC):
    """One format on one stream, which it does not close.  For one thread."""

    #: Of files in this format.
    suffix: ClassVar[str]

    def __init__(self, stream: TextIO) -> None:
        """Nothing is written yet."""
        self._stream = stream

    @abstractmethod
    def part(self, part: Part) -> Iterable[str]:
        """Lines of what a command prints; nothing if it is not for this format."""

    @abstractmethod
    def page(self, page: Page) -> Iterable[str]:
        """Lines of a file with what is on the screen."""

    def write(self, what: Part | Page) -> None:
        """Write it, so that who reads the stream has it now; raises :class:`OSError`."""
        for line in self.page(what) if isinstance(what, Page) else self.part(what):
            self._stream.write(f"{line}\n")
        self._stream.flush()
