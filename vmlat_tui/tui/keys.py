"""The table of keys: bindings, the hints at the foot, the help page and the palette read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Union

from textual.binding import Binding


@dataclass(frozen=True)
class Key:
    """What a key does in a scope; ``hint`` is shown at the foot where it is not empty."""

    keys: str
    action: str
    words: str
    hint: str = ""
    #: How help writes the keys, where their names are not what is printed on them.
    shown: str = ""
    palette: bool = True

    @property
    def label(self) -> str:
        """The key as people write it."""
        return self.shown or self.keys.split(",")[0].replace("question_mark", "?")


#: Scope -> its keys.  ``app`` is everywhere, ``recording`` wherever one is replayed.
KEYS: dict[str, tuple[Key, ...]] = {
    "app": (
        Key("question_mark,f1", "help", "Keys of this screen", "help", "?"),
        Key("colon,ctrl+p", "command_palette", "Every command by its name", "", ":", False),
        Key(
            "space",
            "freeze",
            "Freeze the figures; recording goes on, a replay stops",
            "freeze",
            "space",
        ),
        Key("t", "step(-1)", "Step back in time"),
        Key("T", "step(1)", "Step forward in time"),
        Key("left_curly_bracket", "step(-10)", "Ten steps back in time", "", "{"),
        Key("right_curly_bracket", "step(10)", "Ten steps forward in time", "", "}"),
        Key("slash", "filter", "Filter the rows of the list (!word leaves out)", "filter", "/"),
        Key("d", "visit('doctor')", "Doctor: what this host can measure, what is missing"),
        Key("s", "visit('sessions')", "Sessions: recordings"),
        Key("R", "record", "Begin or end a recording of this session"),
        Key("y", "copy", "Copy the row under the cursor (through the terminal)"),
        Key("e", "export", "Write what is shown to files: text, Markdown, JSON"),
        Key("ctrl+t", "next_theme", "Next theme", "", "ctrl+t"),
        Key("escape,backspace,h", "back", "Back", "back", "esc", False),
        Key("q,ctrl+c", "quit", "Quit", "quit"),
    ),
    "recording": (
        Key("left_square_bracket", "seek_by(-60)", "A minute back", "", "["),
        Key("right_square_bracket", "seek_by(60)", "A minute forward", "", "]"),
        Key("at", "seek", "Go to a time: 90, 1:30, -10 from the end, 14:03:20", "", "@"),
        Key("less_than_sign", "pace(-1)", "Half as fast", "", "<"),
        Key("greater_than_sign", "pace(1)", "Twice as fast", "", ">"),
    ),
    "table": (
        Key("j,down", "cursor(1)", "Next row", "", "j ↓", False),
        Key("k,up", "cursor(-1)", "Previous row", "", "k ↑", False),
        Key("g,home", "end(False)", "First row", "", "g", False),
        Key("G,end", "end(True)", "Last row", "", "G", False),
        Key("ctrl+d", "page(0.5)", "Half a page down", "", "ctrl+d", False),
        Key("ctrl+u", "page(-0.5)", "Half a page up", "", "ctrl+u", False),
        Key("pagedown,ctrl+f", "page(1)", "A page down", "", "ctrl+f", False),
        Key("pageup,ctrl+b", "page(-1)", "A page up", "", "ctrl+b", False),
        Key("enter", "choose", "Open", "open", "enter", False),
    ),
    "domains": (
        Key("m", "mark", "Mark the VM; marked ones are measured together", "mark"),
        Key("M", "release", "Stop measuring: the probes detach, discovery goes on"),
        Key("c", "compare", "Compare the VMs that are measured", "compare"),
        Key("P", "placement", "Placement: threads and interrupts of the VM against CPUs", "place"),
    ),
    "path": (
        Key("f", "flows", "Flows of this vNIC", "flows"),
        Key("F", "packet_filter", "Which packets are measured: a filter in words"),
        Key("M", "measure", "Stop measuring: the probes detach; or measure again"),
        Key("D", "direction", "Measure TX, RX or both"),
        Key("L", "threshold", "Threshold from which single packets are shown"),
        Key("w", "span", "Figures of the last 10 s, 60 s, since the mark, since the start", "span"),
        Key("m", "mark", "Mark this moment: figures since then"),
        Key("n", "next_vnic(1)", "Next vNIC that is measured"),
        Key("N", "next_vnic(-1)", "Previous one"),
        Key("c", "compare", "Compare the VMs that are measured", "compare"),
        Key("P", "placement", "Placement: threads and interrupts of the VM against CPUs", "place"),
        Key("1", "page('legs')", "Legs", "panes", "1 2 3 4"),
        Key("2", "page('workers')", "vhost workers", "", "2"),
        Key("3", "page('vcpus')", "vCPUs", "", "3"),
        Key("4", "page('halt')", "Halt polling", "", "4"),
        Key("tab,h,l,left,right", "other", "The other direction", "", "tab h l", False),
        Key("p", "packets", "Slowest packets"),
        Key("i", "findings", "Findings: what explains the time, and what to check", "findings"),
    ),
    "verdict": (
        Key("w", "span", "Figures of the last 10 s, 60 s, since the mark, since the start", "span"),
        Key("m", "mark", "Mark this moment: figures since then"),
    ),
    "flows": (
        Key("m", "mark", "Pick the flow; several can be picked", "pick"),
        Key("a", "apply", "Measure the picked flows only", "measure"),
        Key("A", "everything", "Measure every flow again"),
        Key("F", "packet_filter", "Which packets are measured: a filter in words", "by words"),
        Key("o", "sort(1)", "Sort by the next column", "sort"),
        Key("O", "reverse", "Sort the other way round"),
    ),
    "leg": (
        Key("w", "span", "Figures of the last 10 s, 60 s, since the mark, since the start", "span"),
    ),
    "thread": (
        Key("w", "span", "Figures of the last 10 s, 60 s, since the mark, since the start", "span"),
    ),
    "compare": (
        Key("w", "span", "Figures of the last 10 s, 60 s, since the mark, since the start", "span"),
        Key("o", "sort", "Sort the whole ways by p50, by p99, or not", "sort"),
        Key("1", "page('compare')", "Whole way and slowest leg of each VM", "panes", "1 2"),
        Key("2", "page('matrix')", "Every leg, VM by VM", "", "2"),
        Key("v", "figure", "What the legs show: p50, p90, p99, share of the time", "figure"),
        Key("right,l", "columns(1)", "VMs further right", "VMs", "← →"),
        Key("left,h", "columns(-1)", "VMs further left", "", "← h"),
    ),
    "pings": (
        Key("n", "section(1)", "Next table", "next table"),
        Key("N", "section(-1)", "Previous table"),
        Key("i", "findings", "Findings: what grew, and what to look at", "findings"),
    ),
    "placement": (
        Key("n", "next_vm(1)", "Next VM that runs", "next VM"),
        Key("N", "next_vm(-1)", "Previous one"),
        Key("tab", "other", "The moves, or the grid again", "moves", "tab", False),
    ),
    "findings": (),
    "packets": (),
    "packet": (),
    "doctor": (),
    "sessions": (),
    "help": (),
}


def bindings(*scopes: str) -> list[Union[Binding, tuple[str, str], tuple[str, str, str]]]:
    """Textual's bindings of some scopes."""
    return [
        Binding(key.keys, key.action, key.words, show=False, id=f"{scope}.{key.action}")
        for scope in scopes
        for key in KEYS[scope]
    ]


def hints(scopes: Iterable[str]) -> list[tuple[str, str]]:
    """(key, word) for the foot of a screen."""
    return [(key.label, key.hint) for scope in scopes for key in KEYS[scope] if key.hint]
