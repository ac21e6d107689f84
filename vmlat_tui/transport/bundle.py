"""The agent's bundle: what is sent to another host that has only Python and BCC.

The command there is :data:`COMMAND`, which runs the first line of its standard input.  That line
is the bootstrap and knows how long the archive behind it is; then come the agent's commands.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

from vmlat_tui.sources import PACKAGE, bpf_directory
from vmlat_tui.transport import bootstrap

#: Isolated (-I): nothing in the directory or the environment of the login takes the place of a
#: module.  Without a buffer, nothing behind the first line is read.  It has no single quote and no
#: second line, so that every login shell passes it on alike.
COMMAND = ("python3", "-IB", "-c", 'exec(open(0,"rb",0,closefd=False).readline())')

#: The parts of this program that the agent consists of.
_PARTS = ("agent", "discover", "model", "probes", "protocol")
#: Goes along for a host without it.
_VENDOR = "pyroute2"
#: As old as a zip file can be: the same files make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


@functools.lru_cache(1)
def agent_bundle() -> bytes:
    """The beginning of the standard input of :data:`COMMAND`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, path in _files():
            archive.writestr(zipfile.ZipInfo(name, _DATE), path.read_bytes(), zipfile.ZIP_DEFLATED)
    content = file.getvalue()
    source = Path(bootstrap.__file__).read_text(encoding="utf-8")
    start = f"exec({source!a}); sys.exit(main({len(content)}))\n"
    return start.encode("ascii") + content


def _files() -> Iterator[tuple[str, Path]]:
    """Names in the archive, and where they are here."""
    for path in sorted(PACKAGE.glob("*.py")):
        yield f"{PACKAGE.name}/{path.name}", path
    for part in _PARTS:
        yield from _tree(PACKAGE / part, f"{PACKAGE.name}/{part}", (".py",))
    yield from _tree(bpf_directory(), "bpf", (".c", ".h"))
    found = importlib.util.find_spec(_VENDOR)
    for place in (found.submodule_search_locations or ()) if found else ():
        yield from _tree(Path(place), f"vendor/{_VENDOR}", (".py",))


def _tree(directory: Path, name: str, kinds: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for path in sorted(directory.rglob("*")):
        if path.suffix in kinds and path.is_file():
            yield f"{name}/{path.relative_to(directory).as_posix()}", path
