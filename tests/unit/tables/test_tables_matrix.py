"""Every leg of several VMs side by side."""

from __future__ import annotations

from tests.tui import host
from tests.tui.sources import Frames
from tests.tui.streams import Stream
from vmlat_tui.export import glance
from vmlat_tui.session.feed import drain
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables import vnics
from vmlat_tui.tables.columns import table_lines
from vmlat_tui.tables.matrix import FIXED, CellValue, Matrix, matrix, spans


def of(stream: Stream, figure: CellValue = CellValue.P50) -> Matrix:
    """The matrix of a whole measurement."""
    moments = drain(Frames(stream.whole(4)))
    return matrix(vnics.measured(Place(moments, len(moments) - 1), Span.START), figure)


def test_rows_are_the_legs_of_both_directions_and_columns_the_vnics() -> None:
    shown = of(Stream(host.NAMES[:3]))
    ids = [row.key for row in shown.rows]
    assert ids[:2] == ["tx:total", "tx:tun_in>vnet_rx"] and "rx:total" in ids
    assert ids.index("rx:total") > ids.index("tx:phy_queue>phy_xmit")
    assert [c.id for c in shown.columns[FIXED:]] == ["vnet0", "vnet1", "vnet2"]
    assert [c.title for c in shown.columns[FIXED:]] == list(host.NAMES[:3])
    assert all(set(row.values) == {"vnet0", "vnet1", "vnet2"} for row in shown.rows)


def test_the_slowest_vm_of_a_leg_is_marked_where_others_are_faster() -> None:
    shown = of(Stream(host.NAMES[:5]))
    for row in shown.rows:
        assert row.worst is not None and row.values[row.worst] == max(row.values.values())
    assert not any(row.worst for row in of(Stream(host.NAMES[:1])).rows), (
        "alone it is not a finding"
    )
    slow = next(row for row in shown.rows if row.key == "rx:vhost_woken>vhost_on_cpu")
    cells = [c.cell(slow, c.scale([slow], 9), 9) for c in shown.columns[FIXED:]]
    assert ["▲" in cell for cell in cells] == [c.id == slow.worst for c in shown.columns[FIXED:]]


def test_all_cells_have_one_unit_so_that_they_compare() -> None:
    shown = of(Stream(host.NAMES[:2]))
    scales = {column.scale(shown.rows, 9) for column in shown.columns[FIXED:]}
    assert len(scales) == 1 and shown.unit == "µs"
    share = of(Stream(host.NAMES[:2]), CellValue.SHARE)
    assert share.unit == "%" and not share.rows[0].values, "the whole has no share of itself"
    legs = [row.values["vnet0"] for row in share.rows[1:] if row.key.startswith("tx:")]
    assert abs(sum(legs) - 1) < 0.01


def test_two_vnics_of_one_vm_are_told_apart_and_names_are_harmless() -> None:
    shown = of(Stream(["web", "web", "\x1b[2Jx"]))
    assert [c.title for c in shown.columns[FIXED:]][:2] == ["vnet0 web", "vnet1 web"]
    assert "\x1b" not in "\n".join(table_lines(shown.columns, shown.rows, 80))


def test_many_vms_are_written_in_portions_and_none_is_left_out() -> None:
    shown = of(Stream(host.NAMES))
    portions = list(spans(shown, 6))
    assert [[c.id for c in portion[FIXED:]] for portion in portions] == [
        [f"vnet{n}" for n in range(6)], ["vnet6", "vnet7"]
    ]  # fmt: skip
    moments = drain(Frames(Stream(host.NAMES).whole(2)))
    text = glance.text(Place(moments, len(moments) - 1))
    heads = [line for line in text.splitlines() if line.startswith("dir leg ")]
    assert len(heads) == 2 and all(any(name in head for head in heads) for name in host.NAMES)
