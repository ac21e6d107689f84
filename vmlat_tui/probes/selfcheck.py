"""Finds hooks that are attached and never fire, because the compiler inlined the function.

A hook is judged by a neighbour that the same packets must pass (both stand in its definition): when
the neighbour has fired often and the hook never has, it is *silent*.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmlat_tui.model.hooks import HOOKS

#: So many passages of a neighbour are not an accident.
ENOUGH = 50


def silent_hooks(attached: set[str], hits: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """(hook, the neighbour that proves it, how often that fired) of every silent hook."""
    found = []
    for hook in HOOKS:
        if hook.id not in attached or any(hits.get(id_) for id_ in (hook.id, *hook.substitutes)):
            continue
        for neighbour in hook.neighbours:
            if hits.get(neighbour, 0) >= ENOUGH:
                found.append((hook.id, neighbour, hits[neighbour]))
                break
    return found
