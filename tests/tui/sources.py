"""A source of given frames, for tests."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, Optional, Union

from tests.support.frames import typed
from vmlat_tui.protocol.frames import Frame
from vmlat_tui.protocol.migrations import Raw
from vmlat_tui.transport.source import Order, StreamEnded


class Frames:
    """A source of given frames.  With ``endless`` it stays open and can be given more."""

    def __init__(self, frames: Iterable[Union[Frame, Raw]], endless: bool = False) -> None:
        self._frames = list(frames)
        self.endless = endless
        self._at = 0
        self.sent: list[Any] = []
        self.closed = False

    def give(self, frames: Iterable[Union[Frame, Raw]]) -> None:
        self._frames.extend(frames)

    def send(self, order: Order) -> None:
        self.sent.append(order)

    def next(self, timeout_s: float) -> Optional[Frame]:
        if self._at < len(self._frames):
            self._at += 1
            frame = self._frames[self._at - 1]
            return typed(frame) if isinstance(frame, dict) else frame
        if self.endless:
            time.sleep(min(timeout_s, 0.02))
            return None
        raise StreamEnded("no more")

    def close(self) -> None:
        self.closed = True
