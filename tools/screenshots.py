"""Takes the pictures of the screens in docs/ from the recordings that ship with vmlat.

python tools/screenshots.py        # writes docs/*.svg
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from vmlat_tui.recording.outline import outline
from vmlat_tui.recording.replay import Recording
from vmlat_tui.recording.shipped import shipped
from vmlat_tui.tui.app import VmlatApp

ROOT = Path(__file__).resolve().parent.parent
SIZE = (120, 40)
#: picture -> recording, where in it, and keys from the list of VMs.
PICTURES = {
    "path": ("two-vms", "-2", ("enter",)),
    "leg": ("slow-uplink", "0:40", ("enter", "G", "enter")),
}
_LIMIT_S = 30.0


async def take(name: str, at: str, keys: tuple[str, ...]) -> str:
    """One picture."""
    with shipped(name) as path:
        whole = outline(path)
        assert whole is not None
        at_ns = whole.moment(at)
        app = VmlatApp(Recording(path, at_ns=at_ns))
        async with app.run_test(size=SIZE) as pilot:
            for _ in range(int(_LIMIT_S / 0.05)):
                await pilot.pause(0.05)
                if app.moments[-1].t_ns >= at_ns:
                    break
            for key in ("space", *keys):
                await pilot.press(key)
                await pilot.pause(0.5)
            picture = app.export_screenshot()
    # The font's address is somebody else's server: the reader's own font does.
    return re.sub(r"@font-face \{.*?\}\s*", "", picture, flags=re.DOTALL)


def main() -> None:
    """Take all of them."""
    for name, (recording, at, keys) in PICTURES.items():
        path = ROOT / "docs" / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(asyncio.run(take(recording, at, keys)), encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
