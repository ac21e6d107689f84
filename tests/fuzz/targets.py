"""Every target, by its name."""

from __future__ import annotations

from collections.abc import Mapping

from tests.fuzz import agent, discovery, frames, kernel, logs, recordings, screens
from tests.fuzz.support import Target

FAMILIES = (frames, recordings, logs, discovery, agent, kernel, screens)
TARGETS: Mapping[str, Target] = {
    target.name: target for family in FAMILIES for target in family.TARGETS
}
