"""Write the archive format that the Linux kernel unpacks as its initial file system."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO, Union

_BLOCK = 4


class CpioWriter:
    """A ``newc`` archive; parent directories are added as needed, all owned by root.

    Several archives may follow one another in one file: the kernel unpacks each in turn.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._inode = 0
        self._directories: set[str] = {""}

    def add_file(self, name: str, content: Union[bytes, Path], mode: int = 0o644) -> None:
        """Add a regular file with this content (or a copy of the file at a path)."""
        if isinstance(content, Path):
            content = content.read_bytes()
        self._parents(name)
        self._entry(name, stat.S_IFREG | mode, content)

    def add_link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._parents(name)
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def add_directory(self, name: str) -> None:
        """Add a directory, once."""
        name = name.strip("/")
        if name not in self._directories:
            self._parents(name)
            self._directories.add(name)
            self._entry(name, stat.S_IFDIR | 0o755, b"")

    def add_tree(self, top: Path, name: str) -> None:
        """Add every file under a directory of this machine, keeping permissions."""
        for folder, subfolders, files in os.walk(top):
            subfolders.sort()
            for file in sorted(files):
                path = Path(folder, file)
                inside = f"{name}/{path.relative_to(top)}"
                if path.is_symlink():
                    self.add_link(inside, os.readlink(path))
                else:
                    self.add_file(inside, path, stat.S_IMODE(path.stat().st_mode))

    def close(self) -> None:
        """Write the trailer; the underlying file stays open."""
        self._entry("TRAILER!!!", 0, b"")

    def _parents(self, name: str) -> None:
        parent = os.path.dirname(name.strip("/"))
        if parent not in self._directories:
            self.add_directory(parent)

    def _entry(self, name: str, mode: int, content: bytes) -> None:
        self._inode += 1
        encoded = name.strip("/").encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(encoded), 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields)
        self._padded(header + encoded)
        self._padded(content)

    def _padded(self, data: bytes) -> None:
        self._out.write(data)
        self._out.write(b"\0" * (-len(data) % _BLOCK))
