"""Fetching what the kernel has ready, when there may always be more."""

from __future__ import annotations

from typing import Callable

#: After so many looks there is always more, and nobody knows what has not come.
_MOST = 16


def all_seen(look: Callable[[], bool]) -> bool:
    """Look until nothing is there any more; false if that does not come.

    ``look`` says whether it saw anything.  Whoever takes the time before this, and hears true,
    knows of everything that was there by then.
    """
    return not all(look() for _ in range(_MOST))
