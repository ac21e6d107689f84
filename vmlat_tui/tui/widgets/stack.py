"""Two round trips as stacked bars in the order of the path, over the path itself."""

from __future__ import annotations

from collections.abc import Iterator

from vmlat_tui.analysis.comparison import Comparison
from vmlat_tui.analysis.decomposition import Decomposition
from vmlat_tui.analysis.plan import Item
from vmlat_tui.model.segments import LAYERS, ORDER
from vmlat_tui.tui.paint import Line, StyledText
from vmlat_tui.words import clean, fit, width

#: Layer -> how it is drawn; what was not measured is as light as can be.
_FILLS = {
    "vm_internal": ("▒", "good"),
    "host_internal": ("▓", "spark"),
    "physical": ("█", "accent"),
    "virt_receive": ("█", "bar"),
    "virt_transmit": ("▓", "bar"),
    "": ("░", "dim"),
}
_WORDS = {
    "vm_internal": "VM",
    "host_internal": "host",
    "physical": "network",
    "virt_receive": "vhost, receive",
    "virt_transmit": "transmit",
    "": "not measured",
}
_LAYER_OF = {segment: layer.id for layer in LAYERS for segment in layer.segments}
#: Who is passed, with the segments of the request and of the reply, left to right.
_PATH = (
    ("sender guest", ("A",), ("M",)),
    ("host", ("U1", "B"), ("U4", "L", "K")),
    ("network", ("C",), ("J",)),
    ("host", ("D", "E", "U2"), ("I", "U3")),
    ("receiver guest", ("F", "G"), ("H",)),
)
#: A piece that accounts for this share of the growth is marked.
GREW = 0.1
_NAME_CELLS = 16
_VALUE_CELLS = 9


def drawing(comparison: Comparison, cells: int) -> list[Line]:
    """Both bars on one scale, what the fills mean, and the path with the segments that grew."""
    pieces = sorted(comparison.a.plan.pieces, key=_place)
    if not pieces:
        return [(("no whole was measured in both: there is nothing to stack", "dim"),)]
    sides = comparison.a, comparison.b
    longest = max(sum(max(0.0, _mean(side, p)) for p in pieces) for side in sides)
    room = max(10, cells - _NAME_CELLS - _VALUE_CELLS - 1)
    bars = [_bar(side, pieces, longest, room) for side in sides]
    return [*bars, _legend(pieces), *_path(comparison, pieces, cells)]


def _place(piece: Item) -> int:
    return min(ORDER.index(segment) for segment in _segments(piece))


def _segments(piece: Item) -> list[str]:
    """The segments of a piece; a residual, which has none, is drawn last."""
    return [s for s in (piece.of or piece.id).split("+") if s in ORDER] or [ORDER[-1]]


def _layer(piece: Item) -> str:
    if piece.id == "physical":
        return "physical"
    return _LAYER_OF.get(piece.id, "")


def _mean(side: Decomposition, piece: Item) -> float:
    figure = side.of(piece.formula)
    return figure.mean_ns if figure else 0.0


def _bar(side: Decomposition, pieces: list[Item], longest_ns: float, room: int) -> Line:
    values = [max(0.0, _mean(side, piece)) for piece in pieces]
    total_ns = sum(_mean(side, piece) for piece in pieces)
    spans: list[StyledText] = [
        (fit(clean(side.name), _NAME_CELLS), "strong"),
        (fit(f"{total_ns / 1000:.1f} ", _VALUE_CELLS, right=True), ""),
    ]
    done = edge = 0
    summed = 0.0
    for piece, value in zip(pieces, values):
        summed += value
        edge = round(summed / longest_ns * room) if longest_ns else 0
        if edge > done:
            spans.append(_block(piece, edge - done))
            done = edge
    return tuple(spans)


def _block(piece: Item, cells: int) -> StyledText:
    fill, role = _FILLS[_layer(piece)]
    name = piece.id if piece.id in ORDER else piece.of
    if not name or width(name) + 2 > cells:
        return fill * cells, role
    left = (cells - width(name)) // 2
    return fill * left + name + fill * (cells - left - width(name)), role


def _legend(pieces: list[Item]) -> Line:
    used = {_layer(piece) for piece in pieces}
    spans: list[StyledText] = [("µs".rjust(_NAME_CELLS + _VALUE_CELLS - 1) + " ", "dim")]
    for layer, (fill, role) in _FILLS.items():
        if layer in used:
            spans += [(fill * 2, role), (f" {_WORDS[layer]}  ", "dim")]
    return tuple(spans)


def _path(comparison: Comparison, pieces: list[Item], cells: int) -> Iterator[Line]:
    words = _words(comparison, pieces)
    rows = [
        [(_joined([words[s] for s in group[direction]], arrow)) for group in _PATH]
        for direction, arrow in ((1, " → "), (2, " ← "))
    ]
    heads = [group[0] for group in _PATH]
    widths = [
        max(len(head), *(sum(width(t) for t, _ in row[place]) for row in rows))
        for place, head in enumerate(heads)
    ]
    gap = 3 if sum(widths) + 3 * (len(widths) - 1) <= cells else 1
    wide = [min(w, cells) for w in widths]
    yield tuple((fit(head, w) + " " * gap, "dim") for head, w in zip(heads, wide))
    for row in rows:
        spans: list[StyledText] = []
        for group, w in zip(row, wide):
            spans += group
            spans.append((" " * (w - sum(width(t) for t, _ in group) + gap), ""))
        yield tuple(spans)


def _joined(words: list[StyledText], arrow: str) -> list[StyledText]:
    spans: list[StyledText] = []
    for word in words:
        spans += [(arrow, "faint"), word] if spans else [word]
    return spans


def _words(comparison: Comparison, pieces: list[Item]) -> dict[str, StyledText]:
    """Segment -> how it stands on the path."""
    found: dict[str, StyledText] = {segment: (segment, "dim") for segment in ORDER}
    for piece in pieces:
        segments = _segments(piece) if piece.of or piece.id in ORDER else []
        line = comparison.line(piece.id)
        grew = line is not None and (line.difference_ns or 0) > 0 and (line.share or 0) >= GREW
        for at, segment in enumerate(segments):
            role = "" if piece.id in ORDER else "dim"
            if grew and line is not None and line.difference_ns is not None:
                more = f" {line.difference_ns / 1000:+.0f}" if at == 0 else ""
                found[segment] = (f"▲{segment}{more}", "bad")
            elif line is not None and line.negative:
                found[segment] = (f"▼{segment}", "warn")
            else:
                found[segment] = (segment, role)
    return found
