"""The screens, on recordings that are wrong somewhere, with keys at random."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import traceback
from random import Random
from typing import Any

from textual.pilot import Pilot

from tests.fuzz.recordings import directory, recording
from tests.fuzz.support import Failure, Target, harmless, made
from vmlat_tui.recording.replay import Recording
from vmlat_tui.session.snapshot import Phase
from vmlat_tui.tui.app import VmlatApp

_SIZES = ((80, 24), (100, 30), (120, 40), (200, 50))
#: Ways into each screen, then whatever the keys do there.
_WAYS = (
    "", "e", "ef", "efe", "efm", "ep", "epe", "ei", "ec", "e2", "e2e", "e3", "e3e", "e4", "c", "d",
    "s", "P", "Pn", "em", "ew", "eo", "?", "efo", "c2", "v",
)  # fmt: skip
_KEYS = "jkhlgGtTmwno1234ePfcdvsyxz<>, "
_NAMED = {"e": "enter", "?": "question_mark", " ": "space", "<": "less_than_sign",
          ">": "greater_than_sign", ",": "comma"}  # fmt: skip
_OVER = (Phase.ENDED, Phase.FAILED)


def _input(random: Random) -> bytes:
    choices = {
        "size": random.choice(_SIZES),
        "ascii": random.randrange(4) == 0,
        "keys": [
            random.choice(_WAYS) + "".join(random.choice(_KEYS) for _ in range(random.randrange(4)))
            for _ in range(random.randrange(1, 5))
        ],
    }
    return json.dumps(choices).encode() + b"\n" + recording(random)


def _show(data: bytes) -> None:
    head, _, session = data.partition(b"\n")
    path = directory() / "shown.vmlat"
    path.write_bytes(session)
    faults: list[str] = []
    before = threading.excepthook

    def note(fault: threading.ExceptHookArgs) -> None:
        faults.extend(
            traceback.format_exception(fault.exc_type, fault.exc_value, fault.exc_traceback)
        )

    threading.excepthook = note
    try:
        asyncio.run(_drive(path, json.loads(head)))
    finally:
        threading.excepthook = before
    if faults:
        raise Failure("".join(faults))


async def _drive(path: Any, choices: dict[str, Any]) -> None:
    app = VmlatApp(Recording(path, None), live=False, ascii=choices["ascii"], directory=directory())
    async with app.run_test(size=tuple(choices["size"])) as pilot:
        end = time.monotonic() + 30
        while app.moments[-1].phase not in _OVER and not app.fault:
            if time.monotonic() > end:
                raise Failure("the stream has no end")
            await pilot.pause(0.01)
        for keys in choices["keys"]:
            if app.fault or not app.is_running:
                break
            for key in keys:
                await pilot.press(_NAMED.get(key, key))
                await _computed(app, pilot)
            while len(app.screen_stack) > 2:
                await app.pop_screen()
        shown = "".join(
            segment.text
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if not segment.control
        )
    for fault in (app.fault, *app.defects):
        if fault:
            raise Failure(fault)
    harmless(shown)


async def _computed(app: VmlatApp, pilot: Pilot[None]) -> None:
    """Wait until what a key asked for is painted."""
    end = time.monotonic() + 10
    await pilot.pause()
    while not app.computing.idle and app.is_running and not app.fault:
        if time.monotonic() > end:
            raise Failure("the figures are not computed")
        await pilot.pause(0.01)
    await pilot.pause()


TARGETS = (Target("screens", made(_input), _show, 5),)
