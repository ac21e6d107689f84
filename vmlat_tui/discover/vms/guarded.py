"""Reading of many processes what each of them can make hang.

A process's command line is in its own memory.  Reading it takes the lock of that memory, which the
process may hold while a file system does not answer it; up to Linux 4.16 a file system of the
user's own may also be asked for the pages.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Hashable, Sequence
from typing import Callable, Generic, Optional, TypeVar

_log = logging.getLogger(__name__)

_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")

#: So many readings of the objects of an owner whom nobody vouches for may hang before others of his
#: are not begun; and so many of all owners, as far as those who are trusted are not concerned.
_MOST_OF_ONE, _MOST = 2, 32
#: Each reading that hangs halves the patience with the next one, down to this.
_LEAST_PATIENCE_S = 0.02


class Guarded(Generic[_Key, _Value]):
    """Runs readings one after the other in a thread, which one that hangs keeps for itself.

    For one asker.  A thread lives while there is something to read, and never keeps the program
    from ending.
    """

    def __init__(
        self,
        reading: Callable[[_Key], _Value],
        owner: Callable[[_Key], tuple[Hashable, bool]],
        name: str,
    ) -> None:
        """``reading`` must not raise.  ``owner`` says whose object a key is, and whether that is
        somebody to trust; it is only asked while a reading hangs, and may not hang itself."""
        self._reading = reading
        self._owner = owner
        self._name = name
        self._changed = threading.Condition()
        self._todo: deque[_Key] = deque()
        self._working = False
        #: What is being read, since when.
        self._now: Optional[_Key] = None
        self._since = 0.0
        self._hung: dict[_Key, Hashable] = {}
        self._answers: dict[_Key, _Value] = {}

    @property
    def hung(self) -> frozenset[_Key]:
        """What is being read for too long already."""
        with self._changed:
            return frozenset(self._hung)

    def ask(self, keys: Sequence[_Key], limit_s: float) -> dict[_Key, _Value]:
        """What was read of these, without what hangs or is not begun for fear of it.

        Returns as soon as all is read; a reading may take ``limit_s``, all that hang twice that.
        What comes too late is among the answers of the next time.
        """
        wanted = set(keys)
        patience = limit_s
        with self._changed:
            self._answers = {k: v for k, v in self._answers.items() if k in wanted}
            self._todo.extend(k for k in keys if k not in self._answers and k not in self._hung)
            while self._todo or self._working:
                if not self._working:
                    self._working, self._now, self._since = True, None, time.monotonic()
                    threading.Thread(target=self._run, name=self._name, daemon=True).start()
                left = self._since + patience - time.monotonic()
                if left > 0 or self._now is None:
                    self._changed.wait(max(left, _LEAST_PATIENCE_S))
                    continue
                self._hung[self._now] = self._owner(self._now)[0]
                _log.warning("%s: reading %s hangs", self._name, self._now)
                self._working = False
                patience = max(patience / 2, _LEAST_PATIENCE_S)
            return {key: self._answers.pop(key) for key in wanted & set(self._answers)}

    def _run(self) -> None:
        while True:
            with self._changed:
                key = self._next()
                if key is None:
                    self._working = False
                    self._changed.notify_all()
                    return
                self._now, self._since = key, time.monotonic()
            value = self._reading(key)
            with self._changed:
                self._answers[key] = value
                if key in self._hung:
                    del self._hung[key]
                    return  # another thread does the rest

    def _next(self) -> Optional[_Key]:
        while self._todo:
            key = self._todo.popleft()
            if not self._hung or self._may(key):
                return key
        return None

    def _may(self, key: _Key) -> bool:
        owner, trusted = self._owner(key)
        of_one = sum(1 for other in self._hung.values() if other == owner)
        if trusted:
            return of_one < _MOST
        return of_one < _MOST_OF_ONE and len(self._hung) < _MOST
