"""Where a VM runs, where it was in the last minute, and what of it does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Optional

import pytest

from tests.tui import host
from vmlat_tui.analysis.findings.finding import Severity
from vmlat_tui.model.rates import Rates, ThreadRate
from vmlat_tui.model.topology import Cpu, Domain, Irq, Thread, Topology, Vcpu, Way, Worker
from vmlat_tui.protocol.session import Clock, HelloFrame
from vmlat_tui.session.snapshot import Place, Snapshot
from vmlat_tui.tables.columns import arrange, table_lines
from vmlat_tui.tables.placement import Mark, Placement, PlacementRow, RowKind
from vmlat_tui.tables.placement_grid import PlacementGrid, grid
from vmlat_tui.tables.placement_rows import placement
from vmlat_tui.tables.placement_words import (
    details,
    left_out,
    legend,
    move_rows,
    reach,
    surroundings,
)

SECOND = 1_000_000_000
HOST: Topology = host.topology()
#: Worker on CPU 4 with vCPU 0 (bound), vCPU 1 on 5; worker on the far node; all of cache-2 free.
WEB, DB, CACHE = HOST.domains
VCPU_0, VCPU_1, WORKER = 2210, 2211, 2230


def rates(t_ns: int, cpus: Mapping[int, Optional[int]], share: float = 0.2) -> Rates:
    threads = {tid: ThreadRate(cpu, share, None, None, None) for tid, cpu in cpus.items()}
    return Rates(t_ns, 1.0, threads, {}, {}, {}, {})


def moment(second: int, cpus: Mapping[int, Optional[int]], topology: Topology = HOST) -> Snapshot:
    t_ns = second * SECOND
    return Snapshot(number=second, t_ns=t_ns, topology=topology, rates=rates(t_ns, cpus))


def at(*moments: Snapshot) -> Place:
    return Place(moments, len(moments) - 1)


def shown(place: Place, domain: Domain = CACHE) -> Placement:
    found = placement(place, domain)
    assert found is not None
    return found


def row(of: Placement, title: str) -> PlacementRow:
    return next(row for row in of.rows if row.title == title)


def marks(one: PlacementRow) -> dict[int, Optional[Mark]]:
    return {cpu: mark for cpu in range(host.CPUS) if (mark := one.mark(cpu))}


def words(one: PlacementRow) -> list[tuple[str, Severity]]:
    return [(finding.word, finding.severity) for finding in one.findings]


# ---- rows ---------------------------------------------------------------------------------------


def test_workers_vcpus_qemu_and_interrupts_have_a_row_each() -> None:
    of = shown(at(moment(100, {})), WEB)
    assert [(r.kind, r.title) for r in of.rows] == [
        (RowKind.WORKER, "vhost vnet0/0"), (RowKind.VCPU, "vCPU 0"), (RowKind.VCPU, "vCPU 1"),
        (RowKind.QEMU, "QEMU main"), (RowKind.IRQ, "IRQ 120"),
    ]  # fmt: skip
    assert [r.cpus for r in of.rows] == [(6,), (2,), (3,), (2,), (1,)], "as discovered, no rates"
    assert of.nodes == {0: tuple(range(8)), 1: tuple(range(8, 16))}
    assert (of.memory_nodes, of.nics, of.threads_per_core) == ((0,), {"ens1f0": 0}, 2)


def test_a_row_says_where_it_runs_ran_and_may_run() -> None:
    place = at(moment(100, {VCPU_0: 12}), moment(101, {VCPU_0: 6}), moment(102, {VCPU_0: 14}))
    found = marks(row(shown(place), "vCPU 0"))
    assert found == {cpu: {14: Mark.HERE, 12: Mark.SEEN, 6: Mark.SEEN}.get(cpu, Mark.MAY)
                     for cpu in range(16)}  # fmt: skip
    assert marks(row(shown(place), "IRQ 120")) == {1: Mark.HERE}


def test_moves_of_the_last_minute_count_and_older_ones_do_not() -> None:
    seconds = {30: 1, 45: 2, 95: 3, 96: 3, 97: 14, 100: 14}
    place = at(*(moment(second, {VCPU_0: cpu}) for second, cpu in seconds.items()))
    of = shown(place)
    one = row(of, "vCPU 0")
    assert [(m.t_ns // SECOND, m.before, m.after) for m in one.moves] == [
        (95, (2,), (3,)), (97, (3,), (14,)),
    ]  # fmt: skip
    assert one.seen == {2, 3, 14} and of.seconds == 55 and reach(of) == "last 55 s"
    assert row(of, "vCPU 1").moves == (), "it was not seen"


def test_figures_at_an_earlier_place_know_nothing_of_later_moves() -> None:
    moments = [moment(100 + n, {VCPU_0: cpu}) for n, cpu in enumerate((14, 15, 14))]
    assert [len(row(shown(Place(tuple(moments), n)), "vCPU 0").moves) for n in range(3)] == [
        0, 1, 2,
    ]  # fmt: skip


def test_one_reading_that_stands_in_several_moments_is_one_sight() -> None:
    first, second = moment(100, {VCPU_0: 14}), moment(101, {VCPU_0: 15})
    place = at(first, replace(first, number=9, t_ns=first.t_ns + SECOND // 2), second)
    assert len(row(shown(place), "vCPU 0").moves) == 1
    alone = shown(at(first))
    assert alone.seconds == 0 and row(alone, "vCPU 0").moves == ()


def hello(boot: str) -> HelloFrame:
    return HelloFrame(1, "6.1", "hv1", Clock(1, 2), boot=boot)


def test_nothing_from_before_the_host_was_booted_anew_is_a_move() -> None:
    before = replace(moment(100, {VCPU_0: 3}), hello=hello("a"))
    after = replace(moment(101, {VCPU_0: 14}), hello=hello("b"))
    assert row(shown(at(before, after)), "vCPU 0").moves == ()


def test_an_interrupt_moves_too() -> None:
    def going(*cpus: int) -> Topology:
        nic = replace(HOST.interfaces[0], irqs=(Irq(120, "ice", (0, 1, 9), cpus),))
        return replace(HOST, interfaces=(nic, *HOST.interfaces[1:]))

    place = at(moment(100, {}, going(1)), moment(101, {}, going(1)), moment(102, {}, going(9)))
    one = row(shown(place), "IRQ 120")
    assert [(m.before, m.after) for m in one.moves] == [((1,), (9,))]
    assert marks(one) == {0: Mark.MAY, 1: Mark.SEEN, 9: Mark.ODD}
    assert words(one) == [("far NIC", Severity.SUSPECT)] and one.far
    several = row(shown(at(moment(100, {}, going(0, 1)))), "IRQ 120")
    assert several.cpus == (0, 1) and not several.far
    unknown = row(shown(at(moment(100, {}, going()))), "IRQ 120")
    assert unknown.cpus == () and marks(unknown) == {0: Mark.MAY, 1: Mark.MAY, 9: Mark.MAY}


# ---- what stands out ----------------------------------------------------------------------------


def test_who_is_far_from_the_memory_or_the_nic_is_said() -> None:
    of = shown(at(moment(100, {VCPU_0: 3, VCPU_1: 12, WORKER: 0})))
    worker, far, near = (row(of, name) for name in ("vhost vnet2/0", "vCPU 0", "vCPU 1"))
    assert words(worker) == [("far node", Severity.WRONG)] and worker.far and worker.nodes == (0,)
    assert "every copy crosses nodes" in worker.findings[0].sentence
    assert words(far) == [("far node", Severity.SUSPECT)] and not near.findings
    assert far.mark(3) is Mark.ODD and near.mark(12) is Mark.HERE
    away = shown(at(moment(100, {WORKER: 9})))
    assert words(row(away, "vhost vnet2/0")) == [("far NIC", Severity.NOTE)]


def test_two_busy_threads_on_one_core_are_marked_and_quiet_ones_are_not() -> None:
    busy = moment(100, {VCPU_0: 10, VCPU_1: 11, WORKER: 0})
    of = shown(at(busy))
    for name, other in (("vCPU 0", 1), ("vCPU 1", 0)):
        one = row(of, name)
        assert words(one) == [("one core", Severity.SUSPECT)]
        assert f"vCPU {other} is busy on CPU {10 + other}" in one.findings[0].sentence
    idle = replace(busy, rates=rates(busy.t_ns, {VCPU_0: 10, VCPU_1: 11}, share=0.01))
    assert not row(shown(at(idle)), "vCPU 0").findings
    apart = shown(at(moment(100, {VCPU_0: 10, VCPU_1: 12})))
    assert not row(apart, "vCPU 0").findings


def test_one_cpu_for_two_is_wrong_if_both_are_bound_and_suspect_if_both_are_busy() -> None:
    of = shown(at(Snapshot(t_ns=SECOND, topology=HOST)), DB)
    assert words(row(of, "vhost vnet1/0")) == [("same CPU", Severity.WRONG)]
    assert "vCPU 0 is bound to CPU 4" in row(of, "vhost vnet1/0").findings[0].sentence
    assert words(row(of, "vCPU 0")) == [("same CPU", Severity.WRONG)], "both rows say so"
    assert not row(of, "QEMU main").findings, "it does not run all the time"
    free = shown(at(moment(100, {VCPU_0: 12, VCPU_1: 12})))
    assert words(row(free, "vCPU 0")) == [("same CPU", Severity.SUSPECT)]


def test_an_interrupt_on_the_cpu_of_a_vcpu_is_a_note_without_a_warning_glyph() -> None:
    one = row(shown(at(moment(100, {VCPU_0: 1, VCPU_1: 12}))), "IRQ 120")
    assert words(one) == [("same CPU", Severity.NOTE)] and one.mark(1) is Mark.HERE


def test_what_is_not_known_is_left_open() -> None:
    nowhere = Thread(VCPU_0, "CPU 0/KVM", None, (), None, None)
    domain = replace(
        CACHE, memory_nodes=(), vcpus=(Vcpu(0, nowhere, False), Vcpu(1, None, False)), emulator=()
    )
    nic = replace(HOST.interfaces[0], node=None)
    bare = replace(
        HOST, cpus=(), domains=(domain,), interfaces=(nic, *HOST.interfaces[1:]), ways=HOST.ways
    )
    of = shown(at(Snapshot(t_ns=SECOND, topology=bare)), domain)
    one = row(of, "vCPU 0")
    assert (one.cpus, one.nodes, one.far, one.findings, marks(one)) == ((), (), False, (), {})
    assert "vCPU 1" not in [r.title for r in of.rows]
    assert of.nodes == {None: (0, 1)}, "CPUs that the rows name"
    assert surroundings(of) == "node of its memory not known · 2 CPUs"
    text = " ".join(sentence for _, sentence in details(of, one))
    assert text == "vCPU 0 · CPU 0/KVM, tid 2210 · on a CPU that is not known"
    assert placement(at(Snapshot()), domain) is None


def test_a_vm_without_threads_has_no_rows() -> None:
    bare = replace(CACHE, workers=(), vcpus=(), emulator=(), vnics=())
    of = shown(at(moment(100, {})), bare)
    assert of.rows == () and grid(of, 80).left_out == ()


# ---- the grid -----------------------------------------------------------------------------------


def large(nodes: int, per_node: int, vcpus: int, irqs: int = 0) -> tuple[Topology, Domain]:
    """A host whose VM has a worker, and vCPUs that may run on every CPU, on its first node."""
    count = nodes * per_node
    numbers = tuple(range(count))
    cpus = tuple(
        Cpu(n, n != count - 1, None, None, n // per_node, (n,), n == 5, None, None, ())
        for n in numbers
    )
    threads = [Thread(500 + n, f"CPU {n}/KVM", n, numbers, "other", 0) for n in range(vcpus)]
    domain = replace(
        CACHE,
        vcpus=tuple(Vcpu(n, thread, False) for n, thread in enumerate(threads)),
        workers=(Worker(Thread(499, "vhost", vcpus, (vcpus,), "other", 0), True, ("vnet2/0",)),),
        memory_nodes=(0,),
        emulator=(),
    )
    lines = tuple(Irq(200 + n, f"nic-{n}", numbers, (n * count // irqs,)) for n in range(irqs))
    nic = replace(HOST.interfaces[0], irqs=lines)
    interfaces = (nic, *HOST.interfaces[1:])
    topology = replace(HOST, cpus=cpus, domains=(domain,), interfaces=interfaces)
    return topology, domain


def numbers(of: PlacementGrid) -> list[str]:
    return [c.title for c in of.columns if c.id.startswith("cpu") and c.id != "cpu"]


@pytest.mark.parametrize("room", [78, 118, 198])
def test_sixteen_cpus_are_all_in_sight_even_at_80_columns(room: int) -> None:
    of = shown(at(moment(100, {VCPU_0: 14, VCPU_1: 15, WORKER: 0})))
    made = grid(of, room)
    assert numbers(made) == [str(n) for n in range(16)] and made.left_out == ()
    arranged = arrange(made.columns, room)
    assert sum(cells + 1 for _, cells in arranged) - 1 <= room
    assert {"title", "moves", "looks"} <= {column.id for column, _ in arranged}


def test_headings_of_nodes_stand_over_their_cpus() -> None:
    of = shown(at(moment(100, {})))
    made = grid(of, 78)
    head = table_lines(made.columns, of.rows, 78)[0]
    (first, wide), (second, _) = made.spans
    assert head[first : first + wide].split() == [str(n) for n in range(8)]
    assert head[second:].split()[:8] == [str(n) for n in range(8, 16)]
    assert [group.label(20) for group in made.groups] == ["node 0 · ens1f0", "node 1 · memory"]
    assert [group.label(6) for group in made.groups] == ["node 0", "node 1"]


@pytest.mark.parametrize(("nodes", "per_node"), [(2, 64), (8, 16), (8, 32), (1, 192)])
@pytest.mark.parametrize("room", [78, 118, 198])
def test_a_large_host_shows_the_cpus_that_matter_and_counts_the_others(
    nodes: int, per_node: int, room: int
) -> None:
    topology, domain = large(nodes, per_node, vcpus=6)
    of = shown(at(Snapshot(t_ns=SECOND, topology=topology)), domain)
    made = grid(of, room)
    own = [title for title in numbers(made) if not title.startswith("+")]
    assert own == [str(n) for n in range(7)], "vCPUs and the worker"
    online = nodes * per_node - 1
    assert len(made.left_out) == online - 7 and of.offline == (online,)
    assert sum(int(title[1:]) for title in numbers(made) if title.startswith("+")) == online - 7
    assert left_out(of, made.left_out) == (
        f"{online - 7} of {online} CPUs have no column: +N stands for them"
    )
    arranged = arrange(made.columns, room)
    assert sum(cells + 1 for _, cells in arranged) - 1 <= room


def test_what_matters_but_does_not_fit_is_named_in_the_column_of_the_others() -> None:
    topology, domain = large(2, 64, vcpus=40)
    of = shown(at(Snapshot(t_ns=SECOND, topology=topology)), domain)
    made = grid(of, 78)
    assert "in use" in left_out(of, made.left_out)
    last = row(of, "vCPU 39")
    (rest,) = [c for c in made.columns if c.title.startswith("+") and "39" not in c.title][:1]
    assert rest.cell(last, rest.scale([last], 4), 4).strip() == "●39"
    assert str(rest.value(last)) == "runs here: 39", "exports have words"
    worker = row(of, "vhost vnet2/0")
    assert rest.cell(worker, rest.scale([worker], 4), 4).strip() in ("●40", "")


def test_threads_come_before_interrupts_where_room_is_short() -> None:
    topology, domain = large(2, 64, vcpus=4, irqs=64)
    of = shown(at(Snapshot(t_ns=SECOND, topology=topology)), domain)
    made = grid(of, 78)
    assert [str(n) for n in range(5)] == numbers(made)[:5]
    line = table_lines(made.columns, [row(of, "IRQ 263")], 78)[1]
    assert "▲126" in line and "far NIC" in line


def test_isolated_cpus_have_a_line_of_their_own() -> None:
    topology, domain = large(1, 8, vcpus=2)
    of = shown(at(Snapshot(t_ns=SECOND, topology=topology)), domain)
    assert of.rows[0].kind is RowKind.HOST and of.isolated == (5,)
    lines = table_lines(grid(of, 78).columns, of.rows, 78)
    assert lines[1].index("i", 10) == lines[0].index("5"), "under its number"
    assert "isolated 5" in surroundings(of) and "offline 7" in surroundings(of)
    assert details(of, of.rows[0])[0][1].startswith("isolated CPUs 5:")


def test_findings_are_a_word_in_little_room_and_sentences_in_much() -> None:
    of = shown(at(moment(100, {VCPU_0: 14, VCPU_1: 15, WORKER: 0})))
    texts = {
        room: "\n".join(table_lines(grid(of, room).columns, of.rows, room))
        for room in (78, 118, 198)
    }
    assert "far node\n" in texts[78] and "far node: it runs on" in texts[118]
    assert "one core: vCPU 1 is busy on CPU 15, a sibling of CPU 14" in texts[198]


# ---- words --------------------------------------------------------------------------------------


def test_moves_are_listed_latest_first_and_say_when_a_node_was_left() -> None:
    places: Sequence[tuple[int, int, int]] = ((100, 14, 12), (101, 6, 12), (104, 14, 13))
    place = at(*(moment(s, {VCPU_0: a, VCPU_1: b}) for s, a, b in places))
    rows = move_rows(shown(place))
    assert [(r.row.title, r.seconds, r.crossed) for r in rows] == [
        ("vCPU 0", 0, True), ("vCPU 1", 0, False), ("vCPU 0", 3, True),
    ]  # fmt: skip
    assert (rows[0].before, rows[0].after) == ((0,), (1,))


def test_a_row_in_words_tells_where_it_was() -> None:
    place = at(*(moment(100 + n, {VCPU_0: cpu}) for n, cpu in enumerate((14, 12, 6, 14))))
    of = shown(place)
    texts = [text for _, text in details(of, row(of, "vCPU 0"))]
    assert texts[0] == (
        "vCPU 0 · CPU 0/KVM, tid 2210 · on CPU 14 (node 1) · may run on 0-15 · use 20 %"
    )
    assert texts[-1] == "moved 3 times in the last 3 s: 14 → 12 → 6 → 14"
    assert "was not seen to move" in details(of, row(of, "IRQ 120"))[-1][1]
    assert dict(legend(of))[Mark.SEEN] == "ran in the last 3 s"


def test_uplinks_of_all_its_vnics_have_their_interrupts() -> None:
    other = host.interface("eth9", 9, "device", node=1, irqs=(Irq(300, "x", (8,), (8,)),))
    way = Way("vnet2", HOST.ways[2].hops, ("ens1f0", "eth9"), "a bond that balances")
    topology = replace(HOST, interfaces=(*HOST.interfaces, other), ways=(*HOST.ways[:2], way))
    of = shown(at(moment(100, {}, topology)))
    assert [r.title for r in of.rows if r.kind is RowKind.IRQ] == ["IRQ 120", "IRQ 300"]
    assert "ens1f0 on node 0 ≠ · eth9 on node 1 ·" in surroundings(of)
