"""The placement of a VM in words: the nodes, what the marks mean, one row, and the moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.findings.finding import Severity
from vmlat_tui.analysis.placement import cpu_list
from vmlat_tui.tables.columns import COUNT, NAME, TEXT, Column
from vmlat_tui.tables.placement import Mark, Placement, PlacementRow, RowKind
from vmlat_tui.tables.trail import Move
from vmlat_tui.words import clean

#: So many of the last moves of a row are written out.
_PATH = 8


def reach(shown: Placement) -> str:
    """How far back moves were seen: ``last 60 s``."""
    return f"last {shown.seconds:.0f} s"


def surroundings(shown: Placement) -> str:
    """Nodes and CPUs of the host, and what of the VM is on them."""
    memory = _numbers(shown.memory_nodes)
    parts = [f"memory on node {memory}" if memory else "node of its memory not known"]
    for name, node in list(shown.nics.items())[:2]:
        if node is not None:
            far = " ≠" if shown.memory_nodes and node not in shown.memory_nodes else ""
            parts.append(f"{clean(name)} on node {node}{far}")
    nodes = [node for node in shown.nodes if node is not None]
    on = f" on {len(nodes)} nodes" if len(nodes) > 1 else ""
    parts.append(f"{len(shown.cpus)} CPU{'s' if len(shown.cpus) != 1 else ''}{on}")
    if shown.threads_per_core > 1:
        parts.append(f"{shown.threads_per_core} threads a core")
    if shown.isolated:
        parts.append(f"isolated {cpu_list(shown.isolated)}")
    if shown.offline:
        parts.append(f"offline {cpu_list(shown.offline)}")
    return " · ".join(parts)


def legend(shown: Placement) -> tuple[tuple[Mark, str], ...]:
    """What the marks mean."""
    return (
        (Mark.HERE, "runs"),
        (Mark.ODD, "runs, and stands out"),
        (Mark.SEEN, f"ran in the {reach(shown)}"),
        (Mark.MAY, "may run"),
    )


def left_out(shown: Placement, cpus: tuple[int, ...]) -> str:
    """How many CPUs have no column of their own; empty if all have."""
    if not cpus:
        return ""
    outside = set(cpus)
    used = {cpu for row in shown.rows for cpu in (*row.cpus, *row.seen)} & outside
    here = f", {len(used)} of them in use," if used else ""
    return f"{len(cpus)} of {len(shown.cpus)} CPUs{here} have no column: +N stands for them"


def details(shown: Placement, row: PlacementRow) -> list[tuple[str, str]]:
    """(role, sentence) about a row: who it is, where it was, and every finding."""
    if row.kind is RowKind.HOST:
        cpus = cpu_list(shown.isolated)
        return [("dim", f"isolated CPUs {cpus}: only what is bound to one of them runs there")]
    lines = [("dim", " · ".join(_identity(row)))]
    for finding in row.findings:
        glyph = "·" if finding.severity is Severity.NOTE else "▲"
        drawn = {Severity.WRONG: "bad", Severity.SUSPECT: "warn"}.get(finding.severity, "")
        lines.append((drawn, f"{glyph} {finding.word}: {finding.sentence}"))
    if row.moves:
        lines.append(("accent", _moved(shown, row)))
    elif shown.seconds:
        lines.append(("dim", f"was not seen to move in the {reach(shown)}"))
    return lines


def _identity(row: PlacementRow) -> Iterator[str]:
    irq = row.kind is RowKind.IRQ
    yield row.title
    yield clean(row.name) if irq else f"{clean(row.name)}, tid {row.number}"
    node = f" (node {_numbers(row.nodes)})" if row.nodes else ""
    where = f"CPU {cpu_list(row.cpus)}{node}" if row.cpus else "a CPU that is not known"
    yield f"{'goes to' if irq else 'on'} {where}"
    if row.allowed:
        yield f"may {'go to' if irq else 'run on'} {cpu_list(tuple(row.allowed))}"
    if row.run_share is not None:
        yield f"use {100 * row.run_share:.0f} %"


def _moved(shown: Placement, row: PlacementRow) -> str:
    count = len(row.moves)
    last = row.moves[-_PATH:]
    way = " → ".join(cpu_list(cpus) for cpus in (last[0].before, *(move.after for move in last)))
    begun = "… → " if count > len(last) else ""
    return f"moved {count} time{'s' if count != 1 else ''} in the {reach(shown)}: {begun}{way}"


def _numbers(numbers: tuple[int, ...]) -> str:
    return ",".join(map(str, numbers))


# ---- moves --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MoveRow:
    """Something went from some CPUs to others; ``seconds`` ago, nodes where they are known."""

    row: PlacementRow
    move: Move
    seconds: float
    before: tuple[int, ...]
    after: tuple[int, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """Identity."""
        return (self.row.key, self.move.t_ns)

    @property
    def crossed(self) -> bool:
        """It went to another node."""
        return bool(self.before and self.after) and self.before != self.after


def move_rows(shown: Placement) -> list[MoveRow]:
    """The latest first."""
    node_of = {cpu: node for node, cpus in shown.nodes.items() for cpu in cpus}

    def nodes(cpus: tuple[int, ...]) -> tuple[int, ...]:
        found = {node_of.get(cpu) for cpu in cpus}
        return tuple(sorted(node for node in found if node is not None))

    rows = [
        MoveRow(row, move, (shown.t_ns - move.t_ns) / 1e9, nodes(move.before), nodes(move.after))
        for row in shown.rows
        for move in row.moves
    ]
    return sorted(rows, key=lambda r: r.seconds)


def _nodes(row: MoveRow) -> Optional[str]:
    if row.crossed:
        return f"{_numbers(row.before)} → {_numbers(row.after)} ≠"
    return _numbers(row.after) or None


MOVE_COLUMNS: tuple[Column[MoveRow], ...] = (
    Column("ago", "s ago", 5, COUNT, lambda r: r.seconds, 0),
    Column("title", "thread", 13, NAME, lambda r: r.row.title, 0, 20),
    Column("move", "from → to CPU", 13, TEXT,
           lambda r: f"{cpu_list(r.move.before)} → {cpu_list(r.move.after)}", 0, 24),
    Column("node", "node", 7, TEXT, _nodes, 1, 10, lambda r: "warn" if r.crossed else "",
           help="NUMA node; ≠ is a move to another node"),
    Column("name", "name", 12, NAME, lambda r: r.row.name or None, 2, 30),
)  # fmt: skip
