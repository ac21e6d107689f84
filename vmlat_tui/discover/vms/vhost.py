"""vhost workers: kernel threads up to Linux 6.3, threads of QEMU from 6.4."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vmlat_tui.discover.threads import KTHREADD, PROC, Stat, read_stat, read_thread
from vmlat_tui.model.topology import Backend, Thread, Vnic, Worker


def find_workers(
    pid: int, threads: Sequence[Thread], running: Sequence[Stat], proc: Path = PROC
) -> tuple[Worker, ...]:
    """The workers of a QEMU process, in the order in which they were made."""
    name = f"vhost-{pid}"
    found = [Worker(t, False, ()) for t in threads if t.name == name]
    for stat in running:
        if stat.name == name and stat.parent == KTHREADD:
            thread = read_thread(stat.tid, proc)
            if thread:
                found.append(Worker(thread, True, ()))

    def age(worker: Worker) -> tuple[int, int]:
        stat = read_stat(proc / str(worker.thread.tid))
        return (stat.started if stat else 0, worker.thread.tid)

    return tuple(sorted(found, key=age))


def assign(
    workers: Sequence[Worker], vnics: Sequence[Vnic], ifindex: Mapping[str, int]
) -> tuple[Worker, ...]:
    """Say which queue each worker serves, where that is certain.

    The kernel does not tell.  But QEMU makes one worker for every queue, vNIC by vNIC, as the taps
    were made; if the numbers agree, nothing was unplugged in between and the order is that.
    """
    served = sorted(
        (v for v in vnics if v.backend is Backend.VHOST), key=lambda v: ifindex.get(v.tap or "", -1)
    )
    queues = [f"{vnic.tap}/{n}" for vnic in served for n in range(vnic.queues)]
    if len(queues) != len(workers) or any(v.tap is None for v in served):
        return tuple(workers)
    return tuple(replace(w, queues=(queue,)) for w, queue in zip(workers, queues))
