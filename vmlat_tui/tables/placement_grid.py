"""The placement of a VM as a table: a row for each thread and interrupt, a column for each CPU.

Where the CPUs of the host do not fit, only those stay that matter to the VM; one column per NUMA
node stands for the others, so that nothing is out of sight.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Optional

from vmlat_tui.analysis.findings.finding import Severity
from vmlat_tui.analysis.findings.static import headline
from vmlat_tui.analysis.placement import cpu_list
from vmlat_tui.tables.columns import COUNT, NAME, PERCENT, TEXT, Column, Form, Scale
from vmlat_tui.tables.placement import Mark, Placement, PlacementRow, RowKind
from vmlat_tui.words import clean, fit
from vmlat_tui.words import width as cells_of

#: Blanks between the CPUs of two nodes, besides the gap that all columns have.
_GAP = 2
_TITLE, _TITLE_MOST = 10, 20
#: Room for a finding in a word.
_LOOKS = 8
#: From so many cells on the beginning of a sentence says more than a word.
_SENTENCE = 24
#: The least priority of the columns with figures.
_FIGURES = 4


@dataclass(frozen=True)
class Group:
    """CPUs of a NUMA node side by side; ``rest`` are those that one column stands for.

    ``label`` has words for its heading, longest first.
    """

    labels: tuple[str, ...]
    cpus: tuple[int, ...]
    rest: tuple[int, ...]

    def label(self, cells: int) -> str:
        """What fits."""
        return next((text for text in self.labels if cells_of(text) <= cells), "")


@dataclass(frozen=True)
class PlacementGrid:
    """``columns`` for the rows of one placement; ``groups`` are what stands above the CPUs."""

    columns: tuple[Column[PlacementRow], ...]
    groups: tuple[Group, ...]
    #: Where the groups begin, and how wide they are, in cells from the first column.
    spans: tuple[tuple[int, int], ...]

    @property
    def left_out(self) -> tuple[int, ...]:
        """The CPUs without a column of their own."""
        return tuple(sorted(cpu for group in self.groups for cpu in group.rest))


def grid(shown: Placement, room: int) -> PlacementGrid:
    """The columns for a room of so many cells."""
    titles = max((cells_of(row.title) for row in shown.rows), default=0)
    title = max(_TITLE, min(_TITLE_MOST, titles))
    least = sum(c.width + 1 for c in _columns(title, 0, _LOOKS, ()) if c.priority <= 1)
    groups, cells = _chosen(shown, room - least + 1)
    cpus = [c for place, group in enumerate(groups) for c in _of_group(cells, place, group)]
    # Findings in whole sentences are worth more than the columns of the least priority.
    used = _needed(groups, cells) + sum(
        c.width + 1 for c in _columns(title, 0, 0, ()) if c.priority <= _FIGURES
    )
    longest = max((cells_of(next(_wordings(row))) for row in shown.rows), default=0)
    looks = max(_LOOKS, min(longest, room - used + 1))
    columns = _columns(title, len(shown.cpus), looks, cpus)
    spans, at = [], title + 1
    for place, group in enumerate(groups):
        at += _GAP if place else 0
        span = _group_cells(group, cells)
        spans.append((at, span))
        at += span + 1
    return PlacementGrid(columns, tuple(groups), tuple(spans))


# ---- which CPUs ---------------------------------------------------------------------------------


def _chosen(shown: Placement, room: int) -> tuple[list[Group], int]:
    """Groups that fit, and the cells of a CPU."""
    cells = max((len(str(cpu)) for cpu in shown.cpus), default=1)
    for wide in (max(2, cells), cells):
        every = _groups(shown, shown.cpus)
        if _needed(every, wide) <= room:
            return every, wide
    wanted = _wanted(shown)
    for count in range(len(wanted), 0, -1):
        groups = _groups(shown, wanted[:count])
        cells = max(len(str(cpu)) for group in groups for cpu in group.cpus)
        if _needed(groups, cells) <= room:
            return groups, cells
    return _groups(shown, ()), 1


def _wanted(shown: Placement) -> list[int]:
    """The CPUs that matter: where its threads are, where its interrupts go, where they were."""
    ranks: dict[int, int] = {}
    for row in shown.rows:
        for cpu in row.cpus:
            ranks[cpu] = min(ranks.get(cpu, 9), int(row.kind is RowKind.IRQ))
        for cpu in row.seen:
            ranks.setdefault(cpu, 2)
    return sorted(set(shown.cpus) & set(ranks), key=lambda cpu: (ranks[cpu], cpu))


def _groups(shown: Placement, chosen: Iterable[int]) -> list[Group]:
    own = set(chosen)
    named = {*shown.memory_nodes, *shown.nics.values()}
    quiet = {n for n, cpus in shown.nodes.items() if n not in named and own.isdisjoint(cpus)}
    groups: list[Group] = []
    for node, cpus in shown.nodes.items():
        # One alone keeps its name.
        if len(quiet) < 2 or node not in quiet:
            mine = tuple(cpu for cpu in cpus if cpu in own)
            rest = tuple(cpu for cpu in cpus if cpu not in own)
            # A column that stands for one CPU would need more room than that one.
            group = (cpus, ()) if len(rest) == 1 else (mine, rest)
            groups.append(Group(tuple(_labels(shown, node)), *group))
    if len(quiet) > 1:
        rest = tuple(cpu for node in quiet for cpu in shown.nodes[node])
        groups.append(Group(("other nodes", "others", "else"), (), rest))
    return groups


def _labels(shown: Placement, node: Optional[int]) -> Iterator[str]:
    if node is None:
        yield from ("CPUs, node not known", "CPUs", "")
        return
    here = [f"node {node}"]
    here += ["memory"] if node in shown.memory_nodes else []
    names = [clean(name) for name, where in shown.nics.items() if where == node]
    if names:
        yield " · ".join((*here, ", ".join(names)))
        yield " · ".join((*here, "NIC"))
    for count in range(len(here), 0, -1):
        yield " · ".join(here[:count])
    yield f"n{node}"


def _rest_cells(group: Group) -> int:
    """A glyph and a number, the count, and the name of a node that has nothing else."""
    if not group.rest:
        return 0
    return max(len(str(max(group.rest))) + 1, len(f"+{len(group.rest)}"), 0 if group.cpus else 6)


def _group_cells(group: Group, cells: int) -> int:
    rest = _rest_cells(group)
    return len(group.cpus) * (cells + 1) - 1 + (rest + 1 if rest else 0)


def _needed(groups: Sequence[Group], cells: int) -> int:
    return sum(_group_cells(group, cells) + 1 for group in groups) + _GAP * (len(groups) - 1)


# ---- columns ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Spot:
    """What some CPUs are to a row: the strongest mark among them, and those that have it."""

    mark: Mark
    cpus: tuple[int, ...]

    def __str__(self) -> str:
        """For exports."""
        return f"{self.mark.words}: {cpu_list(self.cpus)}"


def spot(row: PlacementRow, cpus: frozenset[int]) -> Optional[Spot]:
    """None if they are nothing to it."""
    for mark, its in row.marks():
        found = cpus.intersection(its)
        if found:
            return Spot(mark, tuple(sorted(found)))
    return None


class _Glyph(Form):
    """A spot as its glyph; with the CPU if the column stands for several and it is one of them."""

    right = True

    def __init__(self, several: bool) -> None:
        self._several = several

    def text(self, value: Spot, scale: Scale, width: int) -> str:
        """``●``, or ``●77``."""
        one = self._several and len(value.cpus) == 1 and value.mark is not Mark.MAY
        return value.mark.glyph + (str(value.cpus[0]) if one else "")


class _CpuColumn(Column[PlacementRow]):
    """What CPUs are to a row; blank where they are nothing."""

    def scale(self, rows: Iterable[PlacementRow], width: int) -> Scale:
        """There is nothing to choose: no value is looked at."""
        return Scale()

    def cell(self, row: PlacementRow, scale: Scale, width: int) -> str:
        """The glyph at the right."""
        blank = self.value(row) is None
        return " " * width if blank else super().cell(row, scale, width)


def _of_cpus(id: str, title: str, cells: int, cpus: tuple[int, ...]) -> _CpuColumn:
    among = frozenset(cpus)
    return _CpuColumn(
        id,
        title,
        cells,
        _Glyph(len(cpus) > 1),
        lambda row: spot(row, among),
        role=lambda row: _drawn(row, spot(row, among)),
    )


def _of_group(cells: int, place: int, group: Group) -> Iterator[_CpuColumn]:
    before = _GAP if place else 0
    for cpu in group.cpus:
        yield _of_cpus(f"cpu{cpu}", str(cpu), cells + before, (cpu,))
        before = 0
    if group.rest:
        yield _of_cpus(
            f"cpus {cpu_list(group.rest)}",
            f"+{len(group.rest)}",
            _rest_cells(group) + before,
            group.rest,
        )


def _drawn(row: PlacementRow, found: Optional[Spot]) -> str:
    if found is None:
        return ""
    if found.mark is Mark.ODD:
        return role(row)
    return {Mark.HERE: "strong", Mark.SEEN: "accent", Mark.MAY: "dim"}.get(found.mark, "")


def role(row: PlacementRow) -> str:
    """How what stands out is drawn."""
    if not row.findings:
        return ""
    return {Severity.WRONG: "bad", Severity.SUSPECT: "warn"}.get(row.severity, "")


def emphasis(row: PlacementRow) -> tuple[str, str]:
    """A glyph for what stands out; the host's own row is dim."""
    if row.kind is RowKind.HOST:
        return "", "dim"
    return ("▲", "") if row.severity > Severity.NOTE else ("", "")


class _Findings(Column[PlacementRow]):
    """As many findings in words as fit; blank if there are none."""

    def cell(self, row: PlacementRow, scale: Scale, width: int) -> str:
        """The longest wording that fits, or the beginning of the first."""
        texts = list(_wordings(row))
        cut = [texts[-3]] if len(texts) > 2 and width >= _SENTENCE else []
        fitting = (text for text in texts[:-2] if cells_of(text) <= width)
        short = (text for text in texts[-2:] if cells_of(text) <= width)
        return fit(next(iter((*fitting, *cut, *short)), texts[-1]), width)


def _wordings(row: PlacementRow) -> Iterator[str]:
    """All findings, fewer and fewer of them, the first in a word; empty if there are none."""
    sentences = [f"{finding.word}: {finding.sentence}" for finding in row.findings]
    for count in range(len(sentences), 0, -1):
        left = len(sentences) - count
        yield "; ".join(sentences[:count]) + (f" +{left}" if left else "")
    yield headline([remark.word for remark in row.findings])
    yield row.findings[0].word if sentences else ""


def _node(row: PlacementRow) -> Optional[str]:
    if not row.nodes:
        return None
    nodes = ",".join(map(str, row.nodes))
    return f"{nodes} ≠" if row.far else nodes


def _columns(
    title: int, online: int, looks: int, cpus: Iterable[Column[PlacementRow]]
) -> tuple[Column[PlacementRow], ...]:
    def affinity(row: PlacementRow) -> Optional[str]:
        if row.kind is RowKind.HOST or not row.allowed:
            return None
        return "any" if len(row.allowed) >= online else cpu_list(tuple(row.allowed))

    return (
        Column("title", "thread", title, NAME, lambda r: r.title, 0),
        *cpus,
        Column("moves", "moves", 5, COUNT,
               lambda r: None if r.kind is RowKind.HOST else len(r.moves), 1,
               role=lambda r: "accent" if r.moves else "dim",
               help="how often it was seen on another CPU in the last minute"),
        Column("node", "node", 4, TEXT, _node, 3, role=lambda r: role(r) if r.far else "",
               help="NUMA node; ≠ is not where the VM's memory is (interrupts: the NIC)"),
        Column("use", "use", 5, PERCENT, lambda r: r.run_share, 4, help="of one CPU"),
        Column("affinity", "may run", 7, TEXT, affinity, 5, 12, help="its affinity"),
        _Findings("looks", "looks", looks, TEXT,
                  lambda r: "; ".join(f"{f.word}: {f.sentence}" for f in r.findings), 0, 90,
                  role, "what stands out"),
        Column("name", "name", 12, NAME, lambda r: r.name or None, 6, 20),
    )  # fmt: skip
