"""Findings as people and programs read them: a verdict, a table, one in full, JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Optional

from vmlat_tui.analysis.findings import judge
from vmlat_tui.analysis.findings.finding import Finding, Severity, Sureness
from vmlat_tui.analysis.findings.spent import PACKETS, SHARE
from vmlat_tui.analysis.findings.words import percent, us
from vmlat_tui.model.points import BOTH
from vmlat_tui.session import window
from vmlat_tui.session.snapshot import Place
from vmlat_tui.session.window import Span
from vmlat_tui.tables.columns import PERCENT, TEXT, TIME, Column
from vmlat_tui.tables.evidence import evidence
from vmlat_tui.words import clean


@dataclass(frozen=True)
class Verdict:
    """What was found about one vNIC; ``reason`` says why nothing was, if nothing was.

    ``judged`` is false where there was too little to judge.  ``packets``: those that went the whole
    way, by direction.
    """

    findings: tuple[Finding, ...]
    packets: dict[str, int]
    judged: bool
    reason: str


def verdict(place: Place, tap: str, span: Span, mark_ns: Optional[int] = None) -> Verdict:
    """Judge one vNIC by the packets of a span."""
    given = evidence(place, tap, span, mark_ns)
    if given is None:
        known = place.now.stats is not None and place.now.topology is not None
        reason = "no VM is known to own this device" if known else "not measured yet"
        return Verdict((), {}, False, reason)
    packets = {d.id: given.total(d).count for d in BOTH}
    most = max(packets.values())
    if most < PACKETS:
        count = "no packet" if not most else f"only {most} packet{'s' if most > 1 else ''}"
        return Verdict(
            (), packets, False, f"not judged: {count} {window.words(place, span, mark_ns)}"
        )
    found = tuple(judge(given))
    reason = ""
    if not found:
        whole = sum(packets.values())
        reason = f"nothing stands out: no known cause explains {100 * SHARE:g} % of the p50 or p99"
        reason += f" of {whole} packets"
        if not any("vhost_on_cpu" in leg for leg in given.legs):
            reason += "; vhost and vCPUs are not measured here"
    return Verdict(found, packets, True, reason)


def role(finding: Finding) -> str:
    """How it is drawn."""
    if finding.severity is Severity.NOTE or finding.sureness is Sureness.POSSIBLE:
        return ""
    return "bad" if finding.severity is Severity.WRONG else "warn"


def glyph(finding: Finding) -> str:
    """The same without colour."""
    return "▲" if role(finding) else "·"


def emphasis(finding: Finding) -> tuple[str, str]:
    """A row's glyph and role."""
    return glyph(finding), role(finding)


def line(judged: Verdict) -> tuple[tuple[str, str], ...]:
    """(text, role) in one line: the worst, what it explains, how many more."""
    if not judged.findings:
        return ((judged.reason, "good" if judged.judged else "dim"),)
    worst = judged.findings[0]
    time, possible = worst.explained, worst.sureness is Sureness.POSSIBLE
    parts = [(f"{glyph(worst)} {'possibly ' if possible else ''}{worst.word}", role(worst))]
    if time is not None:
        atmost = "at most " if possible else ""
        figures = ((time.p50_ns, "p50"), (time.p99_ns, "p99"))
        times = ", ".join(f"{us(value)} of {name}" for value, name in figures if value)
        parts += [(f" {time.direction.name}", "strong"), (f" {atmost}{times}", "")]
        if time.lost:
            parts.append((f", {percent(time.lost)} lost", "bad"))
    more = len(judged.findings) - 1
    if more:
        parts.append((f"  +{more} more", "dim"))
    return tuple(parts)


# ---- the list -----------------------------------------------------------------------------------


def _time(finding: Finding, field: str) -> Any:
    return getattr(finding.explained, field) if finding.explained else None


def _direction(finding: Finding) -> Optional[str]:
    return finding.explained.direction.name if finding.explained else None


_SURE = {Sureness.MEASURED: "measured", Sureness.LIKELY: "likely", Sureness.POSSIBLE: "at most"}

COLUMNS: tuple[Column[Finding], ...] = (
    Column("word", "finding", 24, TEXT, lambda f: f.word, 0, 30),
    Column("direction", "dir", 3, TEXT, _direction, 0),
    Column("p50", "p50", 7, TIME, lambda f: _time(f, "p50_ns"), 0,
           help="what it explains of the whole way's p50"),
    Column("p99", "p99", 7, TIME, lambda f: _time(f, "p99_ns"), 1, help="and of its p99"),
    Column("share", "time", 6, PERCENT, lambda f: _time(f, "share"), 3,
           help="share of the time that all packets spent on the whole way"),
    Column("sure", "how sure", 8, TEXT, lambda f: _SURE[f.sureness], 2,
           help="at most: it may be behind so much of the time, or less"),
    Column("sentence", "evidence", 40, TEXT, lambda f: clean(f.sentence), 4, 400),
)  # fmt: skip


def export_columns(findings: Sequence[Finding]) -> tuple[Column[Finding], ...]:
    """Everything, each text in full."""
    texts = (
        ("id", lambda f: f.id),
        ("severity", lambda f: f.severity.name.lower()),
        ("sentence", lambda f: clean(f.sentence)),
        ("meaning", lambda f: f.meaning),
        ("remedy", lambda f: clean(f.remedy)),
    )
    widths = {
        name: max((len(value(finding)) for finding in findings), default=0) for name, value in texts
    }
    return (
        *COLUMNS[:-1],
        *(Column(name, name, max(len(name), widths[name]), TEXT, value) for name, value in texts),
    )


# ---- one in full --------------------------------------------------------------------------------

_HOW_SURE = {
    Sureness.MEASURED: "measured: the time itself was seen to be spent on this",
    Sureness.LIKELY: "likely: the time was measured, and this is what explains it best",
    Sureness.POSSIBLE: "possible: the time was measured, and this may be behind all, some or none",
}


def explained_words(finding: Finding) -> str:
    """What it explains, of what."""
    time = finding.explained
    if time is None:
        return "nothing was measured"
    atmost = "at most " if finding.sureness is Sureness.POSSIBLE else ""
    lost = f"; {percent(time.lost)} of the packets were lost" if time.lost else ""
    return (
        f"{time.direction.name}: {atmost}{us(time.p50_ns)} of the p50 of {us(time.total_p50_ns)}, "
        f"{atmost}{us(time.p99_ns)} of the p99 of {us(time.total_p99_ns)}, "
        f"{percent(time.share)} of all time of {time.packets} packets{lost}"
    )


def details(finding: Finding) -> list[tuple[str, str, str]]:
    """(heading, text, role) of everything that there is to say."""
    return [
        ("found", clean(finding.sentence), role(finding)),
        ("explains", explained_words(finding), "strong"),
        ("means", finding.meaning, ""),
        ("check", clean(finding.remedy), ""),
        ("sure", _HOW_SURE[finding.sureness], "dim"),
    ]


def text_lines(judged: Verdict) -> list[str]:
    """A verdict for a terminal: every finding in full."""
    if not judged.findings:
        return [judged.reason]
    lines: list[str] = []
    for finding in judged.findings:
        lines.append(f"{glyph(finding)} {finding.word} ({finding.id})")
        lines += [f"    {heading:<9}{text}" for heading, text, _ in details(finding)]
    return lines


def as_json(finding: Finding) -> dict[str, Any]:
    """For a program: times in ns, shares 0 to 1."""
    time = finding.explained
    return {
        "id": finding.id,
        "word": finding.word,
        "severity": finding.severity.name.lower(),
        "sureness": finding.sureness.name.lower(),
        "direction": time.direction.id if time else None,
        "explained": {
            "p50_ns": time.p50_ns,
            "p99_ns": time.p99_ns,
            "mean_ns": round(time.mean_ns),
            "share": time.share,
            "lost": time.lost,
            "packets": time.packets,
            "total_p50_ns": time.total_p50_ns,
            "total_p99_ns": time.total_p99_ns,
        }
        if time
        else None,
        "sentence": finding.sentence,
        "numbers": dict(finding.numbers),
        "meaning": finding.meaning,
        "remedy": finding.remedy,
        "legs": list(finding.legs),
    }
