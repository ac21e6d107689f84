"""Two environments side by side: where one takes longer, and what to look at."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from vmlat_tui.analysis.advice import Advice, advise, ruled_out
from vmlat_tui.analysis.comparison import Comparison, Line, Section
from vmlat_tui.analysis.figures import Figure
from vmlat_tui.analysis.plan import REST
from vmlat_tui.tables.columns import TEXT, Column
from vmlat_tui.tables.decomposition import AS_PRINTED, NEGATIVE, SEGMENT, title_of
from vmlat_tui.tables.grid import MICRO, SHARE, SIGNED, TIMES, Grid
from vmlat_tui.words import clean, cut

# ---- tables -------------------------------------------------------------------------------------


def grid(comparison: Comparison, section: Section) -> Grid[Line]:
    """One table."""
    title = section.title + (f" (document {section.number})" if section.number else "")
    if comparison.statistic != "mean":
        title += f", {comparison.statistic}"
    return Grid(section.id, title, columns(comparison), section.lines, _residual(section))


def columns(comparison: Comparison) -> tuple[Column[Line], ...]:
    """The same in every table."""
    name_a, name_b = (cut(clean(side.name), 20) for side in (comparison.a, comparison.b))
    return (
        Column("item", "", 7, SEGMENT, lambda line: line.item.id),
        Column("title", "", 19, TEXT, _title, 0, 40, help="what it is, and of what it consists"),
        Column("a_ns", name_a, 10, MICRO, lambda line: line.a_ns, 0, 18, help="the base"),
        Column("b_ns", name_b, 10, MICRO, lambda line: line.b_ns, 0, 18, help="what is compared"),
        Column("difference_ns", "difference", 13, SIGNED, lambda line: line.difference_ns),
        Column("ratio", "ratio", 5, TIMES, lambda line: line.ratio, 2),
        Column(
            "share",
            "share",
            5,
            SHARE,
            lambda line: line.share,
            0,
            help="of the growth of the round trip",
        ),
        Column("basis", "how", 12, TEXT, _basis, 4, 40, help="where the figures come from"),
        Column("flag", "", 10, TEXT, lambda line: NEGATIVE if line.negative else "", 3),
    )


def _title(line: Line) -> str:
    words = AS_PRINTED if line.beside else title_of(line.item)
    return "- " * line.depth + words


def _basis(line: Line) -> str:
    return " / ".join(dict.fromkeys(f.basis.value for f in (line.a, line.b) if f))


def _residual(section: Section) -> str:
    """The remainder's spread stands below its table."""
    for line in section.lines:
        if line.item.id == REST and not line.beside:
            return f"Remainder with its spread: {_spread(line.a)}; {_spread(line.b)}"
    return ""


def _spread(figure: Figure | None) -> str:
    if figure is None:
        return "unknown"
    words = f"{figure.mean_ns / 1000:+.1f} µs"
    if figure.spread_ns is None or figure.least_ns is None or figure.most_ns is None:
        return f"{words} (from means, without spread)"
    return (
        f"{words} ± {figure.spread_ns / 1000:.1f} ({figure.least_ns / 1000:+.1f} to"
        f" {figure.most_ns / 1000:+.1f})"
    )


# ---- findings -----------------------------------------------------------------------------------


def findings(comparison: Comparison, show: Callable[[str], str] = clean) -> Iterator[str]:
    """Sentences, the most important first; ``show`` makes a name from outside harmless."""
    whole = comparison.line("total")
    if whole is None or whole.difference_ns is None or whole.a_ns is None or whole.b_ns is None:
        yield "There is no round trip in both: see the segments."
        return
    a, b = show(comparison.a.name), show(comparison.b.name)
    ratio = f", {whole.ratio:.1f} times" if whole.ratio else ""
    yield (
        f"The round trip takes {whole.b_ns / 1000:.1f} µs in {b} and {whole.a_ns / 1000:.1f} µs in"
        f" {a}: {whole.difference_ns / 1000:+.1f} µs{ratio}."
    )
    advices = advise(comparison)
    if not advices and whole.difference_ns > 0:
        yield "No layer has grown by a tenth of that or more."
    for number, advice in enumerate(advices, 1):
        yield f"{number}. {headline(advice)}"
        for check in advice.checks:
            yield f"   - look at {check.what}{f': `{check.command}`' if check.command else ''}"
        for remedy in advice.remedies:
            yield f"   - may help: {remedy}"
    for line in ruled_out(comparison):
        assert line.difference_ns is not None
        yield f"Ruled out: {line.item.title} ({line.difference_ns / 1000:+.1f} µs)."


def headline(advice: Advice) -> str:
    """What grew by how much."""
    share = f" ({round(100 * advice.weight)} % of the growth)" if advice.weight else ""
    grown = f", mostly in {', '.join(advice.segments)}" if advice.segments else ""
    return f"{advice.title}: {advice.difference_ns / 1000:+.1f} µs{share}{grown}"
