"""The grid of one VM against the CPUs, as a user meets it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tests.tui import host
from tests.tui.driving import (
    LARGE,
    SMALL,
    WIDE,
    drive,
    painted,
    press,
    recorded,
    screen_text,
    text_of,
    walk,
)
from tests.tui.streams import Stream
from vmlat_tui.model.topology import Cpu, DomainState
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.tables.placement import PlacementRow
from vmlat_tui.tui.app import VmlatApp
from vmlat_tui.tui.messages import OpenPlacement
from vmlat_tui.tui.screens.placement import PlacementScreen
from vmlat_tui.tui.widgets.table import Table


def table(app: VmlatApp, selector: str) -> Table[Any]:
    found: Table[Any] = app.screen.query_one(selector, Table)
    return found


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE])
def test_one_look_tells_nodes_marks_and_what_stands_out(size: tuple[int, int]) -> None:
    text = drive(recorded(), walk(("P",)), size=size)
    assert "memory on node 1 · ens1f0 on node 0 ≠ · 16 CPUs on 2 nodes" in text
    assert "● runs   ▲ runs, and stands out   ○ ran in the last 13 s   · may run" in text
    assert "node 0 · ens1f0 ──" in text and "node 1 · memory ──" in text
    line = next(line for line in text.splitlines() if "vhost vnet2/0" in line)
    assert line.startswith("▲") and line.count("▲") == 2 and "far node" in line
    assert next(line for line in text.splitlines() if line.startswith("▲vCPU 0")).count("○") == 2
    assert "8 moves   last 13 s" in text and "0 → 1 ≠" in text


def test_the_grid_is_reached_from_the_path_and_goes_back_to_it() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "j", "enter", "P")
        assert isinstance(app.screen, PlacementScreen)
        crumbs = [" ▸ ".join(app.crumbs)]
        await press(pilot, "escape")
        return [*crumbs, " ▸ ".join(app.crumbs)]

    assert drive(recorded(), act) == [
        "VMs ▸ db-1 vnet1 ▸ placement of db-1", "VMs ▸ db-1 vnet1"
    ]  # fmt: skip


def test_the_row_under_the_cursor_is_told_in_words() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "P")
        texts = []
        for key in ("j", "G"):
            await press(pilot, key)
            texts.append(text_of(app.screen.query_one("#details")))
        return texts

    vcpu, irq = drive(recorded(), act, size=SMALL)
    assert "vCPU 0 · CPU 0/KVM, tid 2210 · on CPU 14 (node 1) · may run on 0-15" in vcpu
    assert "▲ one core: vCPU 1 is busy on CPU 15, a sibling of CPU 14" in vcpu
    assert "moved 4 times in the last 13 s: 14 → 12 → 14 → 6 → 14" in vcpu
    assert "IRQ 120 · ice-ens1f0-TxRx-0 · goes to CPU 1 (node 0) · may go to 1" in irq


def test_the_next_vm_takes_its_place_and_the_last_is_followed_by_the_first() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[str]:
        await press(pilot, "P")
        seen = []
        for key in ("n", "n", "n", "N"):
            await press(pilot, key)
            seen.append(app.crumbs[-1].removeprefix("placement of "))
        return seen

    assert drive(recorded(), act) == ["db-1", "web-1", "cache-2", "web-1"]


def test_from_a_move_to_what_moved() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> object:
        await press(pilot, "P", "tab", "j", "j", "enter")
        assert table(app, "#grid").has_focus
        return table(app, "#grid").selected

    found = drive(recorded(), act)
    assert isinstance(found, PlacementRow) and found.title == "vCPU 1"


def test_rows_are_filtered_with_their_moves() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[list[str], set[str], str]:
        await press(pilot, "P", "slash", *"ICE-ens1f0")
        rows = [row.title for row in table(app, "#grid").rows]
        moved = {row.row.title for row in table(app, "#moves").rows}
        await press(pilot, *"x")
        return rows, moved, text_of(table(app, "#grid"))

    rows, moved, empty = drive(recorded(), act)
    assert rows == ["IRQ 120"] and moved == set() and "no row matches ICE-ens1f0x" in empty


def test_stepping_back_in_time_takes_the_moves_back() -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> list[int]:
        await press(pilot, "P")
        counts = [len(table(app, "#moves").rows)]
        await press(pilot, *"tttttt")
        return [*counts, len(table(app, "#moves").rows)]

    now, before = drive(recorded(), act)
    assert now == 8 and 0 < before < now


# ---- a large host -------------------------------------------------------------------------------


def large() -> Iterator[Raw]:
    """Two nodes of 64 CPUs; NIC with 64 interrupts over all of them."""
    stream = Stream(host.NAMES[:1])
    plain = host.cpus()[0]
    cpus = tuple(replace(plain, number=n, node=n // 64, siblings=(n,)) for n in range(128))
    nic, *others = stream.host.interfaces
    irqs = tuple(replace(nic.irqs[0], number=200 + n, effective=(2 * n,)) for n in range(64))
    stream.host = replace(stream.host, cpus=cpus, interfaces=(replace(nic, irqs=irqs), *others))
    yield from stream.whole(2)


@pytest.mark.parametrize("size", [SMALL, WIDE, LARGE])
def test_a_large_host_fits_and_says_what_is_left_out(size: tuple[int, int]) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> tuple[str, str]:
        await press(pilot, "P")
        first = text_of(table(app, "#grid"))
        await press(pilot, "G")
        return screen_text(app), first + "\n" + text_of(table(app, "#grid"))

    text, grid = drive(tuple(large()), act, size=size)
    assert "of 128 CPUs, " in text and "have no column: +N stands for them" in text
    assert all(len(line) <= size[0] for line in grid.splitlines())
    assert "▲126" in grid and "far NIC" in grid, "also where it has no column of its own"
    head = grid.splitlines()[1].split()
    assert {"1", "2", "3", "6"} - {"1"} <= set(head), "its own threads come first"


# ---- nothing to show ----------------------------------------------------------------------------


def changed(**fields: Any) -> list[Raw]:
    """A host whose only VM is otherwise."""
    stream = Stream(host.NAMES[:1])
    domain = replace(stream.host.domains[0], **fields)
    stream.host = replace(stream.host, domains=(domain,))
    return [stream.hello(), stream.topology()]


def test_an_empty_grid_says_why() -> None:
    off = changed(state=DomainState.OFF, pid=None, vcpus=(), workers=(), emulator=())
    assert "it does not run: off" in drive(off, walk(("P",)))
    hidden = changed(vcpus=(), workers=(), emulator=(), vnics=())
    assert "none of its threads is visible" in drive(hidden, walk(("P",)))
    placed = drive(changed(), walk(("P",)))
    assert "vCPU 0" in placed and "nothing was read twice yet" in placed
    stream = Stream(host.NAMES[:1])
    gone = replace(stream.host, domains=())

    async def act(app: VmlatApp, pilot: Pilot[None]) -> str:
        domain = stream.host.domains[0]
        app.post_message(OpenPlacement(domain))
        await painted(pilot)
        return screen_text(app)

    frames = [stream.hello(), {"type": "topology", **gone.to_json()}]
    assert "this VM is not known now" in drive(frames, act)
    assert "holds no topology" in drive([stream.hello()], act)


def test_unknown_fields_are_no_obstacle() -> None:
    stream = Stream(host.NAMES[:1])
    unknown = Cpu(0, True, None, None, None, (), False, None, None, ())
    cpus = tuple(replace(unknown, number=n) for n in range(8))
    domain = replace(stream.host.domains[0], memory_nodes=(), uuid=None)
    interfaces = tuple(replace(i, node=None) for i in stream.host.interfaces)
    stream.host = replace(stream.host, cpus=cpus, domains=(domain,), interfaces=interfaces)
    text = drive(tuple(stream.whole(2)), walk(("P",)), size=SMALL)
    assert "node of its memory not known · 8 CPUs" in text and "CPUs, node not known ─" in text


# ---- exports ------------------------------------------------------------------------------------


def test_an_export_has_the_grid_the_moves_and_what_the_marks_mean(tmp_path: Path) -> None:
    async def act(app: VmlatApp, pilot: Pilot[None]) -> None:
        app.directory = tmp_path / "sessions"
        await press(pilot, "P", "e")
        app.screen.query_one(Input).value = str(tmp_path / "grid")
        await press(pilot, "enter")

    drive(recorded(), act, size=SMALL)
    text = (tmp_path / "grid.txt").read_text()
    assert "placement: memory on node 1" in text and "marks: ● runs, ▲" in text
    assert "far node: it runs on node 0" in text and "14 → 12" in text
    data = json.loads((tmp_path / "grid.json").read_text())["tables"]
    vcpu = next(row for row in data["grid"] if row["title"] == "vCPU 0")
    assert vcpu["cpu14"] == "runs here, with a finding: 14" and vcpu["cpu12"] == "ran here: 12"
    assert vcpu["cpu0"] == "may run here: 0" and vcpu["moves"] == 4 == len(
        [row for row in data["moves"] if row["title"] == "vCPU 0"]
    )
