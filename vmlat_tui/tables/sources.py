"""What was read for an analysis, and what in it could not be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vmlat_tui.importers.result import SourceFile
from vmlat_tui.tables.columns import NAME, TEXT, Column
from vmlat_tui.tables.grid import WHOLE, Grid
from vmlat_tui.words import clean


def _tools(source: SourceFile) -> str:
    return ", ".join(sorted(source.tools)) or "nothing recognised"


def _end(source: SourceFile) -> str:
    return f"{source.side.value} ({source.side_reason})" if source.side else ""


COLUMNS: tuple[Column[SourceFile], ...] = (
    Column("file", "file", 0, NAME, lambda s: str(s.text.path)),
    Column("tools", "what", 0, TEXT, _tools),
    Column("end", "end", 0, TEXT, _end),
    Column("lines", "lines", 0, WHOLE, lambda s: s.text.lines),
    Column("records", "records", 0, WHOLE, lambda s: max(s.records.values(), default=0)),
    Column("quantities", "intervals", 0, TEXT,
           lambda s: " ".join(q for q in s.records if "." not in q and "_printed" not in q)),
    Column("rejected", "rejected", 0, WHOLE, lambda s: sum(s.troubles.values())),
)  # fmt: skip


def grid(sources: Sequence[SourceFile]) -> Grid[SourceFile]:
    """One row for each file."""
    return Grid("sources", "What was read", COLUMNS, sources)


def troubles(sources: Sequence[SourceFile]) -> Iterator[str]:
    """What was not read, with examples; they are data from outside, shown harmless."""
    for source in sources:
        name = clean(source.text.path.name)
        for kind, count in source.troubles.items():
            yield f"{name}: {count} {kind.value}"
            for example in source.examples.get(kind, ()):
                if example.text:
                    yield f"    line {example.line}: {clean(example.text)}"
        for place, count in source.drops.items():
            yield f"{name}: {count} packets lost ({place})"
        for note in source.notes:
            yield f"{name}: {clean(note)}"


def source_json(source: SourceFile) -> dict[str, object]:
    """One object for one file."""
    return {
        "type": "source",
        "file": str(source.text.path),
        "tools": dict(source.tools),
        "end": source.side.value if source.side else None,
        "end_known_by": source.side_reason or None,
        "bytes": source.text.size,
        "lines": source.text.lines,
        "records": dict(source.records),
        "variants": sorted(source.variants),
        "rejected": {kind.name.lower(): count for kind, count in source.troubles.items()},
        "examples": {
            kind.name.lower(): [{"line": e.line, "text": e.text} for e in kept]
            for kind, kept in source.examples.items()
        },
        "lost": dict(source.drops),
        "notes": source.notes,
    }
