"""Every point of the definition is hooked, measured, drawn, listed and documented."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.frames import typed
from tests.tui import host
from tests.tui.streams import Stream
from vmlat_tui.model.hooks import ENDINGS, EXTRAS, HOOKS, JOINS
from vmlat_tui.model.legs import Leg, LegTable
from vmlat_tui.model.points import POINTS, STEPS, Direction, Hook, Point, Site, Step, path
from vmlat_tui.probes import ladder
from vmlat_tui.session.history import History
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import LegRow
from vmlat_tui.tui.widgets.strip import strip_lines

ROOT = Path(__file__).resolve().parents[2]
PROBES = ROOT / "bpf/probes"
BPF = "\n".join(file.read_text() for file in sorted((ROOT / "bpf").rglob("*.[ch]")))

each_point = pytest.mark.parametrize("point", POINTS.values(), ids=list(POINTS))
each_step = pytest.mark.parametrize("step", STEPS, ids=[step.macro for step in STEPS])


@cache
def place() -> Place:
    """A measurement of a VM with every site on its path."""
    history = History(300)
    for frame in Stream(host.NAMES[:1]).whole(3):
        history.take(typed(frame))
    moments = history.moments()
    return Place(moments, len(moments) - 1)


def marked(leg: Leg) -> list[int]:
    """The columns of the strip at which it marks a device for this slowest leg."""
    here = place()
    assert here.now.topology is not None
    row = LegRow("vnet0", leg, 1, 1, 1, 1, 1, 1, 0.5, True, ())
    devices, _, _ = strip_lines(here, here.now.topology.domains[0], "vnet0", [row], 200)
    text = "".join(words for words, _ in devices)
    return [at.start() for at in re.finditer("▲", text)]


@each_point
def test_it_has_a_hook_whose_program_is_in_the_file_of_its_subsystem(point: Point) -> None:
    assert point.hooks
    for hook in (*point.hooks, *point.beside):
        assert program_of(hook), hook.id


@pytest.mark.parametrize("hook", EXTRAS + ENDINGS, ids=lambda hook: hook.symbol)
def test_hooks_beside_the_points_have_programs_too(hook: Hook) -> None:
    assert program_of(hook)


def program_of(hook: Hook) -> bool:
    text = (PROBES / f"{hook.subsystem}.bpf.c").read_text()
    return f"\nint {hook.program}(struct arguments *ctx)\n" in text


def test_no_program_is_without_a_hook() -> None:
    programs = {hook.program for hook in HOOKS + JOINS + EXTRAS + ENDINGS}
    for file in PROBES.iterdir():
        assert set(re.findall(r"^int (\w+)\(", file.read_text(), re.MULTILINE)) <= programs
        assert f'#include "probes/{file.name}"' in (ROOT / "bpf/path.bpf.c").read_text()


@each_step
def test_the_programs_stamp_it(step: Step) -> None:
    assert re.search(rf"\b{step.macro}\b", BPF)


@each_step
def test_it_ends_or_begins_a_leg_of_each_of_its_directions(step: Step) -> None:
    legs = LegTable(s.number for s in STEPS).numbered.values()
    for direction in step.directions:
        of = [leg for leg in legs if leg.direction is direction]
        others = path(direction)
        assert any(leg.end is step for leg in of) or step is others[0]
        assert any(leg.start is step for leg in of) or step is others[-1]


@each_step
def test_it_is_required_only_where_it_is_passed(step: Step) -> None:
    assert set(step.required) <= set(step.directions)


def test_the_sites_are_in_a_row_on_the_strip() -> None:
    places = {}
    for point in POINTS.values():
        step = next(s for s in STEPS if s.point is point)
        places[point.site] = marked(Leg(step.directions[0], step, step))
    assert list(places) != [] and set(places) == set(Site)
    assert all(places.values())
    ordered = [places[site][0] for site in Site]
    assert ordered == sorted(ordered) and len(set(ordered)) == len(ordered)


@each_point
def test_the_strip_marks_it_when_the_way_to_it_is_slowest(point: Point) -> None:
    for direction in Direction:
        steps = path(direction)
        for before, step in zip(steps, steps[1:]):
            if step.point is point:
                assert marked(Leg(direction, before, step))


@each_point
def test_doctor_lists_it_once(point: Point) -> None:
    listed = [id_ for id_, _ in ladder.points_in_order()]
    assert listed.count(point.id) == 1


@each_point
def test_the_page_of_the_path_has_its_row(point: Point) -> None:
    page = (ROOT / "docs/path.md").read_text()
    assert f"\n| `{point.id}` |" in page and point.title in page
