"""What was compiled before: kept for the next start, and believed only if nobody else can have
written it, as the kernel will run it.

The directory is :class:`.safe_files.TrustedDirectory`; an entry is a regular file of root or the
effective user with one name, which nobody else can write, and begins with a digest of its key and
its content.  Whatever is not so is made again, and takes the place of what was there.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError
from vmlat_tui.safe_files import NewFile, TrustedDirectory, Untrusted

_log = logging.getLogger(__name__)

#: Entries that are kept.
_KEEP = 8
#: Bytes of an entry; the largest has less than 1 MiB.
_LARGEST = 16 << 20
_SAFE = "set VMLAT_CACHE to a directory that nobody else can write"
#: Why it is not used, if that was not taken yet; and whatever was.
_problem: Optional[str] = None
_taken: set[str] = set()


def take_problem() -> Optional[str]:
    """Why nothing is kept, in a line; None if the cache is used, or that was said before."""
    global _problem
    problem, _problem = _problem, None
    if problem is None or problem in _taken:
        return None
    _taken.add(problem)
    return problem


@contextlib.contextmanager
def _opened() -> Iterator[TrustedDirectory]:
    global _problem
    path = Path(os.environ.get("VMLAT_CACHE") or "/var/cache/vmlat", "bpf")
    try:
        directory = TrustedDirectory(path)
    except Untrusted as error:
        _problem = f"compiled programs are not kept, so every start takes longer: {error}; {_SAFE}"
        raise
    with directory:
        yield directory


def load(key: str) -> Optional[bytes]:
    """What was stored under a key, a word of hexadecimal digits; None if it is to be made."""
    try:
        with _opened() as directory:
            digest, _, content = directory.content(_name(key), _LARGEST).partition(b"\n")
    except (OSError, ValueError, Untrusted) as error:
        _log.debug("nothing is kept under %s: %s", key[:8], error)
        return None
    return content if digest == _digest(key, content) else None


def store(key: str, content: bytes) -> None:
    """Keep it; a disk that is full or cannot be written costs the next start a compilation."""
    name = _name(key)
    try:
        with _opened() as directory:
            with NewFile(directory, name) as made:
                made.file.write(_digest(key, content) + b"\n" + content)
                _clear(directory, name)
                made.take_place(replace=True)
            _forget(directory)
    except (OSError, UsageError) as error:
        _log.warning("what was compiled is not kept: %s", error)


def _clear(directory: TrustedDirectory, name: str) -> None:
    """Take away what no file can take the place of."""
    with contextlib.suppress(FileNotFoundError):
        mode = directory.stat(name).st_mode
        here = directory.descriptor
        if stat.S_ISDIR(mode):
            os.rename(name, f".{os.urandom(8).hex()}", src_dir_fd=here, dst_dir_fd=here)
        elif not stat.S_ISREG(mode):
            os.unlink(name, dir_fd=here)


def _forget(directory: TrustedDirectory) -> None:
    """Remove all but the newest, what a killed program or an older version has left among them."""
    found = []
    for name in directory.names():
        info = directory.stat(name)
        if stat.S_ISREG(info.st_mode):
            found.append((info.st_mtime_ns, name))
    for _, name in sorted(found)[:-_KEEP]:
        os.unlink(name, dir_fd=directory.descriptor)


def _name(key: str) -> str:
    return f"{key[:32]}.json"


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + content).hexdigest().encode()
