"""Files in places where somebody else may write too, and files that somebody else has made.

What is written is made new, for its owner alone, whatever the umask and whatever is there: it has
a name that nobody can know until it takes its place, by rename, in a directory held by its
descriptor.  What is read is a regular file or refused: no pipe is waited for, no device is opened.

Standard library only; importable from every layer.  For any thread.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import os
import stat
from collections.abc import Iterator, Sequence
from io import BufferedIOBase, BufferedWriter, BytesIO
from pathlib import Path
from typing import Optional

from vmlat_tui.errors import UsageError

#: Reaches a file or directory without opening it: that may wait, or do something, as of a device.
_REACH = os.O_PATH | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: Of a file system without hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)
_OF_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_MOST_LINKS = 40
_ELSEWHERE = "choose another place"


class Untrusted(UsageError):
    """A place is not used, because somebody else may put something there."""


def _words(error: OSError) -> str:
    return error.strerror or str(error)


# ---- writing -------------------------------------------------------------------------------------


class Directory:
    """A directory held by its descriptor: whatever becomes of its name, it stays the same one."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError`` if it is none.  Links to it are followed: who names it chooses it."""
        self.path = path
        self.descriptor = os.open(path, _REACH | os.O_DIRECTORY)

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)

    def create(self, name: str) -> BufferedWriter:
        """A new file that its owner alone may read; raises ``OSError`` if anything is there."""
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=self.descriptor)
        # The umask may have taken more; a file system without modes has those of its mount.
        with contextlib.suppress(PermissionError):
            os.fchmod(descriptor, 0o600)
        return os.fdopen(descriptor, "wb")

    def names(self) -> list[str]:
        """What is in it; raises ``OSError``."""
        descriptor = os.open(".", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self.descriptor)
        try:
            return os.listdir(descriptor)
        finally:
            os.close(descriptor)

    def stat(self, name: str) -> os.stat_result:
        """Of what has this name, a link for itself; raises ``OSError``."""
        return os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)


class NewFile:
    """A file on its way: ``file`` is written, and then takes its place, or is nowhere."""

    def __init__(self, directory: Directory, name: str) -> None:
        """Make it beside its place; raises ``OSError``."""
        self._directory = directory
        self._path = directory.path / name
        self._hidden = f".vmlat-{os.urandom(8).hex()}"
        self.file = directory.create(self._hidden)
        self._placed = False

    def __enter__(self) -> NewFile:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk was met before
            self.file.close()
        if not self._placed:
            with contextlib.suppress(OSError):
                os.unlink(self._hidden, dir_fd=self._directory.descriptor)

    def take_place(self, replace: bool) -> None:
        """Have its name from now on; it may be written on.

        ``replace``: even if a file or a link has it, which is replaced itself and never followed.
        Raises :class:`UsageError`.
        """
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
            if replace:
                self._replace()
            else:
                self._link()
        except FileExistsError:
            raise UsageError(f"{self._path} exists", "", "choose another name") from None
        except OSError as error:
            raise UsageError(f"{self._path} cannot be made", _words(error)) from None
        self._placed = True

    def _replace(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            mode = self._directory.stat(self._path.name).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode)):
                raise UsageError(
                    f"{self._path} cannot be replaced",
                    "it is not a regular file",
                    "choose another name",
                )
        here = self._directory.descriptor
        os.replace(self._hidden, self._path.name, src_dir_fd=here, dst_dir_fd=here)

    def _link(self) -> None:
        here, name = self._directory.descriptor, self._path.name
        try:
            os.link(self._hidden, name, src_dir_fd=here, dst_dir_fd=here, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self._directory.create(name).close()  # takes the name, or fails
            os.replace(self._hidden, name, src_dir_fd=here, dst_dir_fd=here)
        else:
            os.unlink(self._hidden, dir_fd=here)


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """A file that is to be at ``path``; unless it takes its place, nothing is left of it.

    Raises :class:`UsageError` if none can be made there.
    """
    with contextlib.ExitStack() as ends:
        try:
            directory = ends.enter_context(Directory(path.parent))
            made = ends.enter_context(NewFile(directory, path.name))
        except OSError as error:
            raise UsageError(f"{path} cannot be made", _words(error), _ELSEWHERE) from None
        yield made


def write(path: Path, content: bytes) -> None:
    """Put a file there, instead of the file or link that is there; raises :class:`UsageError`."""
    with new_file(path) as made:
        try:
            made.file.write(content)
        except OSError as error:
            raise UsageError(f"{path} cannot be written", _words(error)) from None
        made.take_place(replace=True)


def create(path: Path) -> BufferedWriter:
    """A new file that has its name at once; raises :class:`UsageError` if anything is there."""
    try:
        with Directory(path.parent) as directory:
            return directory.create(path.name)
    except FileExistsError:
        raise UsageError(f"{path} exists", "", "choose another name") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be made", _words(error), _ELSEWHERE) from None


def make_directory(path: Path) -> None:
    """Make it, and what is missing above it, for the owner alone; raises :class:`UsageError`."""
    for place in (*reversed(path.parents), path):
        try:
            os.mkdir(place, 0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise UsageError(f"{place} cannot be made", _words(error)) from None


def make_own_directory(path: Path) -> None:
    """As :func:`make_directory`; raises :class:`Untrusted` if it is another user's, or anybody's.

    Less than :class:`TrustedDirectory` asks for: a home may be writable for the user's own group.
    """
    make_directory(path)
    try:
        info = path.stat()
    except OSError as error:
        raise UsageError(f"{path} cannot be used", _words(error)) from None
    _require_ours(path, info)
    if info.st_mode & stat.S_IWOTH:
        raise Untrusted(f"{path} is not trusted", "others can write to it")


# ---- what nobody else can have written -----------------------------------------------------------


def _ours(info: os.stat_result) -> bool:
    return info.st_uid in (0, os.geteuid())


def _require_ours(where: Path, info: os.stat_result) -> None:
    if not _ours(info):
        raise Untrusted(f"{where} is not trusted", f"it belongs to user {info.st_uid}")


class TrustedDirectory(Directory):
    """A directory, made where it is missing, in which nobody else can put or change anything.

    As ssh demands it of what it believes: root or the effective user owns every directory and
    every link on the way from the root, and nobody else can write there.  On the way there may be
    a sticky one, such as /tmp: what is ours in it stays ours.
    """

    def __init__(self, path: Path) -> None:
        """Raises :class:`Untrusted`, or ``OSError`` if it cannot be reached or made."""
        self.path = path
        left = list(reversed(path.absolute().parts[1:]))
        links = 0
        with contextlib.ExitStack() as ends:
            where, here = Path("/"), os.open("/", _REACH | os.O_DIRECTORY)
            ends.callback(lambda: os.close(here))
            self._check(where, here, last=not left)
            while left:
                name = left.pop()
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o700, dir_fd=here)
                found = os.open(name, _REACH | os.O_NOFOLLOW, dir_fd=here)
                info = os.fstat(found)
                if stat.S_ISLNK(info.st_mode):
                    try:
                        links += 1
                        if links > _MOST_LINKS:
                            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                        _require_ours(where / name, info)
                        target = Path(os.readlink("", dir_fd=found))
                    finally:
                        os.close(found)
                    left += reversed(target.parts[1:] if target.is_absolute() else target.parts)
                    if target.is_absolute():
                        os.close(here)
                        where, here = Path("/"), os.open("/", _REACH | os.O_DIRECTORY)
                    continue
                os.close(here)
                where, here = where / name, found
                self._check(where, here, last=not left)
            ends.pop_all()
        self.descriptor = here

    @staticmethod
    def _check(where: Path, descriptor: int, last: bool) -> None:
        info = os.fstat(descriptor)
        if not stat.S_ISDIR(info.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(where))
        _require_ours(where, info)
        if info.st_mode & _OF_OTHERS and (last or not info.st_mode & stat.S_ISVTX):
            raise Untrusted(f"{where} is not trusted", "others can write to it")

    def content(self, name: str, most: int) -> bytes:
        """Of a file that nobody else can have written.

        Raises ``OSError`` if there is none, and ``ValueError`` if it is not to be believed: no
        regular file of one name, somebody else's, or larger than ``most``.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(name, flags, dir_fd=self.descriptor)
        try:
            info = os.fstat(descriptor)
            if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1 or info.st_size > most:
                raise ValueError("no regular file of its own")
            if not _ours(info) or info.st_mode & _OF_OTHERS:
                raise ValueError("others can write to it")
            # Not by one read(2): that of a network's file system may be short.
            with open(descriptor, "rb", closefd=False) as file:
                return file.read(info.st_size)
        finally:
            os.close(descriptor)


# ---- reading what anybody may have written -------------------------------------------------------


def open_regular(path: Path, below: Optional[Path] = None) -> BufferedIOBase:
    """Open a regular file for reading, decompressed if its name ends in ``.gz``.

    With ``below``, a directory above it, no link is followed on the way from there.  Raises
    :class:`UsageError` for what is not a regular file or cannot be opened; never waits.
    """
    try:
        reached = _reached(path, below)
        try:
            info = os.fstat(reached)
            if not stat.S_ISREG(info.st_mode):
                raise UsageError(f"{path} is not a regular file")
            if not info.st_size:
                # The files of /proc say so too; to read those may wait, or take something away.
                return BytesIO()
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.fdopen(os.open(f"/proc/self/fd/{reached}", flags), "rb")
        finally:
            os.close(reached)
    except OSError as error:
        raise UsageError(f"{path} cannot be opened", _words(error)) from None
    return packed(file, path, "rb")


def packed(file: BufferedIOBase, path: Path, mode: str) -> BufferedIOBase:
    """The content of ``file``, (to be) compressed if ``path`` ends in ``.gz``; owns it."""
    if path.suffix != ".gz":
        return file
    made = gzip.GzipFile("", mode, fileobj=file)
    made.myfileobj = file  # type: ignore[assignment]  # or it would not be closed
    return made


def _reached(path: Path, below: Optional[Path]) -> int:
    if below is None:
        return os.open(path, _REACH)
    *directories, name = path.relative_to(below).parts
    here = reached_directory(below, directories)
    try:
        return os.open(name, _REACH | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)


def reached_directory(top: Path, names: Sequence[str], flags: int = _REACH) -> int:
    """A descriptor of a directory below ``top``, by way of no link; raises ``OSError``."""
    here = os.open(top, flags | os.O_DIRECTORY)
    for name in names:
        try:
            found = os.open(name, flags | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = found
    return here
