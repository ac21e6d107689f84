"""Links, anchors and paths in the documentation lead somewhere, and so do those in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.glob("*.md"),
        *ROOT.glob("[!.]*/README.md"),
        *ROOT.glob(".github/**/*.md"),
    ]
)
#: What happened once names what was there then, under the same headings again and again.
HISTORY = ROOT / "CHANGELOG.md"
TODAY = [page for page in PAGES if page != HISTORY]
#: What may name a page.
SOURCES = [ROOT / "pyproject.toml", *(
    path
    for directory in ("bpf", "tests", "tools", "vmlat_tui")
    for path in (ROOT / directory).rglob("*")
    if path.suffix in (".py", ".c", ".h", ".sh") and path.resolve() != Path(__file__).resolve()
)]  # fmt: skip

_FENCED = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)
#: Indented, after an empty line; right below an item of a list such a line belongs to the item.
_INDENTED = re.compile(r"(?<=\n\n)(?: {4}.*\n)+")
_SPAN = re.compile(r"`([^`]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?) *$", re.MULTILINE)
#: A place in the repository, as the documentation names it; ``*`` stands for any name.
_PLACE = re.compile(r"(?:\.github|bpf|docs|stubs|tests|tools|vmlat_tui)/[\w./*-]*")
_PAGE_IN_SOURCE = re.compile(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?")


def name(path: Path) -> str:
    """Of a parametrized test."""
    return str(path.relative_to(ROOT))


@lru_cache(None)
def prose(path: Path) -> str:
    """A page without its blocks of code, whose brackets are no links."""
    return _INDENTED.sub("", _FENCED.sub("", path.read_text(encoding="utf-8")))


def links(path: Path) -> Iterator[str]:
    """The targets of a page's links and pictures that are in this repository."""
    for target in _LINK.findall(_SPAN.sub("", prose(path))):
        if not re.match(r"[a-z]+:", target):
            yield target


def on_a_code_host(heading: str) -> str:
    """The anchor that a code host gives a heading."""
    plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return plain.replace(" ", "-")


def in_the_site(heading: str) -> str:
    """The anchor that MkDocs gives it."""
    plain = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
    return re.sub(r"[-\s]+", "-", plain)


@lru_cache(None)
def anchors(path: Path) -> frozenset[str]:
    """Those that are the same on a code host and in the site."""
    headings = _HEADING.findall(prose(path))
    return frozenset(map(on_a_code_host, headings)) & frozenset(map(in_the_site, headings))


def leads_somewhere(page: Path, target: str) -> bool:
    """Whether a link of a page is to a file of this repository, and to an anchor in it."""
    file, _, anchor = target.partition("#")
    path = (page.parent / file).resolve() if file else page
    inside = path.exists() and ROOT in path.parents
    return inside and (not anchor or anchor in anchors(path))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_lead_somewhere(page: Path) -> None:
    assert not [target for target in links(page) if not leads_somewhere(page, target)]


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=name)
def test_pages_of_the_site_link_only_to_the_site(page: Path) -> None:
    assert not [target for target in links(page) if target.startswith(("../", "/"))]


@pytest.mark.parametrize("page", TODAY, ids=name)
def test_paths_that_a_page_names_exist(page: Path) -> None:
    places = [span for span in _SPAN.findall(prose(page)) if _PLACE.fullmatch(span)]
    assert not [place for place in places if not any(ROOT.glob(place.rstrip("/")))]


@pytest.mark.parametrize("page", TODAY, ids=name)
def test_no_heading_of_a_page_occurs_twice(page: Path) -> None:
    found = [on_a_code_host(heading) for heading in _HEADING.findall(prose(page))]
    assert len(found) == len(set(found))


def test_pages_that_the_sources_name_exist() -> None:
    lost = []
    for source in SOURCES:
        for file, anchor in _PAGE_IN_SOURCE.findall(source.read_text(encoding="utf-8")):
            page = DOCS / file
            if not page.exists() or (anchor and anchor not in anchors(page)):
                lost.append(f"{source.relative_to(ROOT)}: docs/{file}#{anchor}")
    assert not lost


def test_every_page_is_in_the_site_and_no_other() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    listed = re.findall(r"^ +- (?:[^:\n]+: )?([\w-]+\.md)$", site, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in DOCS.glob("*.md"))


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
