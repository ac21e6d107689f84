"""Prints the benchmarks: ``python -m tests.bench [--quick]``, as root.

Every claim is a ratio against something that was measured in the same run.  A missed aim is
printed, never an error: the machine may be busy.
"""

from __future__ import annotations

import argparse
import os
import sys

from tests.bench import cost, events, importing, screens
from tests.bench.table import render
from tests.native.tracefs import tracefs
from vmlat_tui.probes import ladder


def main() -> int:
    """Run them all."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each mode (%(default)s)")
    parser.add_argument("--packets", type=int, default=100_000, help="in a round (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="few packets: does it run at all?")
    parser.add_argument(
        "--log-megabytes", type=float, default=64, help="size of the logs to import (%(default)s)"
    )
    parser.add_argument("--only-logs", action="store_true", help="only import logs")
    args = parser.parse_args()
    megabytes = 2 if args.quick else args.log_megabytes
    print(render("\nImporting logs", importing.rows(megabytes)))
    if args.only_logs:
        return 0
    # These need neither root nor BPF.
    print(render("\nThe screens, 80x24", screens.rows(*((1.0, 10) if args.quick else (20, 200)))))
    if os.geteuid() != 0:
        print("the benchmarks load BPF programs: run them as root", file=sys.stderr)
        return 2
    rounds, packets, seconds = args.rounds, args.packets, 1.0
    rates = tuple(range(10_000, 200_001, 10_000))
    if args.quick:
        rounds, packets, seconds, rates = 1, 5_000, 0.2, (1_000, 2_000)
    kernel = ladder.inspect()
    if kernel.btf is None:
        print(f"the benchmarks need BTF: {kernel.btf_problem}", file=sys.stderr)
        return 1
    title = f"\nCost on the path tap -> bridge -> veth, kernel {kernel.release}"
    with tracefs():
        costs = cost.rows(_costs(kernel, args))
    print(render(f"{title}, {rounds} rounds of {packets:,}", costs))
    print(render("\nSingle packets", events.rows(kernel, rates, seconds)))
    print(render("\nThe agent", events.agent_rows(1 if args.quick else 5)))
    return 0


def _costs(kernel: ladder.Kernel, args: argparse.Namespace) -> cost.Costs:
    rounds, packets = (1, 5_000) if args.quick else (args.rounds, args.packets)
    return cost.measure(kernel, rounds, packets)


if __name__ == "__main__":
    sys.exit(main())
