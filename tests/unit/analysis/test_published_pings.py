"""The figures of the ping analysis document, from its data, as averages and as literal logs.

Where the document is known to be wrong the corrected figure is expected, and the published one
beside it: the totals from tun to the interrupt count one stage twice.
"""

from __future__ import annotations

import pytest

from tests.support.pings import PINGS
from vmlat_tui.analysis.advice import advise, ruled_out
from vmlat_tui.analysis.collection import Collection
from vmlat_tui.analysis.comparison import Comparison, Line
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.figures import Basis
from vmlat_tui.importers import directory
from vmlat_tui.importers.directory import Ends


def taken_apart(name: str) -> Decomposition:
    collection = Collection()
    read = directory.read([PINGS / name], collection, Ends())
    assert not read.unreadable
    assert not any(source.troubles for source in read.sources)
    return Decomposition(name, collection, read.published_ns)


@pytest.fixture(scope="module")
def averages() -> Comparison:
    return Comparison(taken_apart("kernel-4.19.json"), taken_apart("kernel-5.10.json"))


@pytest.fixture(scope="module")
def logged() -> Comparison:
    return Comparison(taken_apart("kernel-4.19"), taken_apart("kernel-5.10"))


def rows(comparison: Comparison, section: str) -> dict[tuple[str, bool], Line]:
    found = next(s for s in comparison.sections if s.id == section)
    return {(line.item.id, line.beside): line for line in found.lines}


def shown(line: Line) -> tuple[str, str, str, str | None]:
    values = line.a_ns, line.b_ns, line.difference_ns
    assert None not in values
    a, b, difference = (0.0 if v is None else round(v / 1000, 1) + 0.0 for v in values)
    ratio = None if line.ratio is None else f"{line.ratio:.1f}"
    return f"{a:.1f}", f"{b:.1f}", f"{difference:+.1f}", ratio


#: Table 2.2; E and L corrected, and as published.
SEGMENTS = [
    ("A", False, "18.2", "16.8", "-1.4", "0.9"),
    ("B", False, "13.5", "17.1", "+3.6", "1.3"),
    ("D", False, "12.7", "12.8", "+0.1", "1.0"),
    ("E", False, "35.0", "110.0", "+75.0", "3.1"),
    ("E", True, "42.0", "120.0", "+78.0", "2.9"),
    ("F", False, "24.3", "28.3", "+4.0", "1.2"),
    ("G", False, "8.4", "6.2", "-2.2", "0.7"),
    ("H", False, "7.3", "5.9", "-1.4", "0.8"),
    ("I", False, "9.4", "17.5", "+8.1", "1.9"),
    ("K", False, "8.3", "13.6", "+5.3", "1.6"),
    ("L", False, "31.0", "95.0", "+64.0", "3.1"),
    ("L", True, "38.0", "105.0", "+67.0", "2.8"),
    ("M", False, "15.7", "17.2", "+1.5", "1.1"),
]


@pytest.mark.parametrize(("id_", "beside", "a", "b", "difference", "ratio"), SEGMENTS)
def test_segment_by_segment(
    averages: Comparison, id_: str, beside: bool, a: str, b: str, difference: str, ratio: str
) -> None:
    assert shown(rows(averages, "segments")[id_, beside]) == (a, b, difference, ratio)


#: Table 2.3.  The document prints 2.7 for the ratio of the whole, in 2.4 2.6: 601.0 / 226.8 = 2.65.
PARTS = [
    ("sender_host", "82.7", "171.3", "+88.6", "2.1", 24),
    ("physical", "30.7", "144.0", "+113.3", "4.7", 30),
    ("receiver_host", "113.4", "285.7", "+172.3", "2.5", 46),
    ("total", "226.8", "601.0", "+374.2", "2.6", 100),
]


@pytest.mark.parametrize(("id_", "a", "b", "difference", "ratio", "share"), PARTS)
def test_three_parts(
    averages: Comparison, id_: str, a: str, b: str, difference: str, ratio: str, share: int
) -> None:
    line = rows(averages, "parts")[id_, False]
    assert shown(line) == (a, b, difference, ratio)
    assert line.share is not None and round(100 * line.share) == share


#: Table 2.4.
METRICS = [
    ("rtt", "226.8", "601.0", "+374.2", "2.6"),
    ("sender_inter", "192.9", "567.5", "+374.6", "2.9"),
    ("receiver_rtt", "40.0", "39.9", "-0.1", "1.0"),
    ("sender_external", "144.1", "429.7", "+285.6", "3.0"),
    ("receiver_external", "91.3", "254.8", "+163.5", "2.8"),
]


@pytest.mark.parametrize(("id_", "a", "b", "difference", "ratio"), METRICS)
def test_metrics_in_detail(
    averages: Comparison, id_: str, a: str, b: str, difference: str, ratio: str
) -> None:
    assert shown(rows(averages, "metrics")[id_, False]) == (a, b, difference, ratio)


#: Tables 2.5 and 3.2; stage 3 to 4 was counted from stage 2.
STAGES = [
    ("E.s1_s2", False, "22.0", "98.0", "+76.0", "4.5"),
    ("E.s2_s3", False, "7.0", "8.0", "+1.0", "1.1"),
    ("E.s3_s4", False, "3.0", "2.0", "-1.0", "0.7"),
    ("E.s3_s4", True, "10.0", "10.0", "+0.0", "1.0"),
    ("E.s4_s5", False, "3.0", "2.0", "-1.0", "0.7"),
    ("E", True, "42.0", "120.0", "+78.0", "2.9"),
]


@pytest.mark.parametrize(("id_", "beside", "a", "b", "difference", "ratio"), STAGES)
def test_from_tun_to_the_interrupt(
    averages: Comparison, id_: str, beside: bool, a: str, b: str, difference: str, ratio: str
) -> None:
    assert shown(rows(averages, "stages_receiver")[id_, beside]) == (a, b, difference, ratio)


#: Tables 3.4.1 to 3.4.4; `~0` is what the document makes of -1.7.
LAYERS = [
    ("vm_internal", False, "73.9", "74.4", "+0.5", 0),
    ("host_internal", False, "43.9", "61.0", "+17.1", 5),
    ("physical", False, "30.7", "144.0", "+113.3", 30),
    ("virt_receive", True, "80.0", "225.0", "+145.0", 39),
    ("virt_receive", False, "66.0", "205.0", "+139.0", 37),
    ("rest", True, "0.0", "96.6", "+96.6", 26),
    ("rest", False, "12.3", "116.6", "+104.3", 28),
]


@pytest.mark.parametrize(("id_", "beside", "a", "b", "difference", "share"), LAYERS)
def test_layers(
    averages: Comparison, id_: str, beside: bool, a: str, b: str, difference: str, share: int
) -> None:
    line = rows(averages, "layers")[id_, beside]
    assert shown(line)[:3] == (a, b, difference)
    assert line.share is not None and round(100 * line.share) == share


#: Table 3.4.3.
UNMEASURED = [
    ("sender_rest", True, "-11.0", "1.6", "+12.6"),
    ("sender_rest", False, "-4.0", "11.6", "+15.6"),
    ("receiver_rest", True, "9.3", "95.0", "+85.7"),
    ("receiver_rest", False, "16.3", "105.0", "+88.7"),
]


@pytest.mark.parametrize(("id_", "beside", "a", "b", "difference"), UNMEASURED)
def test_what_was_not_measured(
    averages: Comparison, id_: str, beside: bool, a: str, b: str, difference: str
) -> None:
    line = rows(averages, "virtualisation")[id_, beside]
    assert shown(line)[:3] == (a, b, difference)
    assert line.negative == (id_ == "sender_rest")
    # A negative time has no ratio to another.
    assert (line.ratio is None) == line.negative


@pytest.mark.parametrize("basis", ["averages", "logged"])
def test_pieces_and_layers_add_up_to_the_round_trip(
    basis: str, request: pytest.FixtureRequest
) -> None:
    comparison: Comparison = request.getfixturevalue(basis)
    for found in (comparison.a, comparison.b):
        whole = found.figure("total")
        assert whole is not None
        pieces = [found.of(piece.formula) for piece in found.plan.pieces]
        layers = map(
            found.figure, ("vm_internal", "host_internal", "physical", "virt_receive", "rest")
        )
        for parts in (pieces, list(layers)):
            assert sum(p.mean_ns for p in parts if p) == pytest.approx(whole.mean_ns)


def test_every_table_ends_with_the_remainder(averages: Comparison) -> None:
    for section in averages.sections:
        assert "rest" in {line.item.id for line in section.lines}, section.id


#: Recomputed from the printed samples; the published averages beside them.
SAMPLES = [
    ("kernel-4.19", "A", 18.24, 18.2),
    ("kernel-4.19", "rtt", 226.79, 226.8),
    ("kernel-4.19", "sender_inter", 192.81, 192.9),
    ("kernel-5.10", "A", 16.99, 16.8),
    ("kernel-5.10", "sender_inter", 566.50, 567.5),
    ("kernel-5.10", "rtt", 600.73, 601.0),
    ("kernel-5.10", "H", 6.04, 5.9),
    ("kernel-5.10", "receiver_rtt", 40.49, 39.9),
]


@pytest.mark.parametrize(("name", "quantity", "recomputed", "published"), SAMPLES)
def test_means_of_the_printed_samples(
    logged: Comparison, name: str, quantity: str, recomputed: float, published: float
) -> None:
    found = next(d for d in (logged.a, logged.b) if d.name == name)
    figure = found.figure(quantity)
    assert figure is not None and figure.basis is Basis.MEASURED
    assert figure.mean_ns / 1000 == pytest.approx(recomputed, abs=0.006)
    assert figure.mean_ns / 1000 == pytest.approx(published, abs=1.01)


def test_logs_of_different_times_are_compared_by_their_means(logged: Comparison) -> None:
    sender = logged.a.figure("sender_host")
    assert sender is not None
    assert sender.basis is Basis.MEANS
    assert sender.mean_ns / 1000 == pytest.approx(82.7, abs=0.05)
    line = rows(logged, "layers")["virt_receive", True]
    assert shown(line)[:3] == ("80.0", "225.0", "+145.0")
    assert rows(logged, "virtualisation")["sender_rest", True].negative


def test_findings_name_the_segments_that_grew(averages: Comparison) -> None:
    advices = advise(averages)
    assert [a.layer for a in advices] == ["virt_receive", "physical", "rest"]
    assert advices[0].segments == ("E", "E.s1_s2", "L", "L.s1_s2")
    assert advices[1].segments == ("C+J",)
    assert advices[2].segments == ("U2+U3",)
    assert any("idle states" in check.what for check in advices[0].checks)
    assert [line.item.id for line in ruled_out(averages)] == ["vm_internal"]


def test_what_has_not_grown_has_no_findings(averages: Comparison) -> None:
    assert advise(Comparison(averages.b, averages.a)) == ()
