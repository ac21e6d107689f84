"""Find the Debian mirror that this machine is configured to use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import VmlatError

_APT = Path("/etc/apt")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
#: Suites by which the main archive is known; any of them leads to the same mirror.
_SUITES = re.compile(
    r"^(buster|bullseye|bookworm|trixie|forky|sid|oldoldstable|oldstable|stable|testing|unstable)$"
)


@dataclass(frozen=True)
class Mirror:
    """A Debian archive and the keys that sign it."""

    uri: str
    keyring: Optional[str]

    def source(self, suite: str) -> str:
        """Return the source line for one suite of this archive."""
        options = f"[signed-by={self.keyring}] " if self.keyring else ""
        return f"deb {options}{self.uri} {suite} main"


def find_mirror(apt: Path = _APT, keyring: Path = _KEYRING) -> Mirror:
    """Return the first Debian archive in apt's configuration.

    Other vendors name their suites after Debian's too; an address that ends in "debian" goes first.
    """
    found = [
        uri
        for uri, suites, components in _entries(apt)
        if "main" in components and any(_SUITES.match(suite) for suite in suites)
    ]
    if found:
        uri = min(found, key=lambda uri: not uri.rstrip("/").endswith("/debian"))
        return Mirror(uri, str(keyring) if keyring.exists() else None)
    raise VmlatError(
        "no Debian mirror found",
        f"{apt} names no archive with a Debian suite and the component main",
        "add one to apt's sources: the lab's hypervisors are Debian systems",
    )


def _entries(apt: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    files = sorted((apt / "sources.list.d").glob("*.sources"))
    for path in files:
        for stanza in re.split(r"\n\s*\n", _without_comments(path)):
            yield from _stanza(stanza)
    for path in [apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))]:
        if path.exists():
            for line in _without_comments(path).splitlines():
                yield from _one_line(line)


def _without_comments(path: Path) -> str:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return ""
    return "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))


def _stanza(text: str) -> Iterator[tuple[str, list[str], list[str]]]:
    fields: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line[:1].isspace():
            fields[name] = fields.get(name, "") + " " + line.strip()
        elif ":" in line:
            name, value = line.split(":", 1)
            name = name.lower()
            fields[name] = value.strip()
    if "deb" in fields.get("types", "").split() and fields.get("enabled", "yes").lower() != "no":
        for uri in fields.get("uris", "").split():
            yield uri, fields.get("suites", "").split(), fields.get("components", "").split()


def _one_line(line: str) -> Iterator[tuple[str, list[str], list[str]]]:
    match = re.match(r"\s*deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)$", line)
    if match:
        yield match.group(1), [match.group(2)], match.group(3).split()
