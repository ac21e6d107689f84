"""A capture: readings in a file of JSON lines, written and read by vmlat alone.

The first line is the :func:`head`; the others have ``type``: ``reading``
(:func:`vmlat_tui.model.readings.to_json`), ``loss`` (a ping that was lost, with its ``outcome``),
and in any number what the analysis has no use for: ``local``, ``unseen``,
``unanswered``, ``summary``.
"""

from __future__ import annotations

from typing import Any, Optional

SCHEMA = 1
#: Types of lines that say nothing of a segment.
VOID = frozenset({"local", "unseen", "unanswered", "summary"})


def head(name: Optional[str] = None) -> dict[str, Any]:
    """The first line; ``name`` is the environment's, if it has one."""
    return {"type": "capture", "schema": SCHEMA, "name": name}
