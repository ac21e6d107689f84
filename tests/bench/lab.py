"""The benchmarks that need a guest, inside the lab:

vmlat lab run --count-instructions -- lab-python -m tests.bench.lab instructions
vmlat lab run -- lab-python -m tests.bench.lab roundtrip
"""

from __future__ import annotations

import argparse
import sys

from tests.bench import instructions, roundtrip
from tests.bench.table import render
from vmlat_tui.errors import VmlatError
from vmlat_tui.lab import inside


def main() -> int:
    """Run one of them."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.lab",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("what", choices=("instructions", "roundtrip"))
    parser.add_argument("--rounds", type=int, help="of each mode (5), or alternations (24)")
    parser.add_argument("--pings", type=int, help="in a round (600), or a block (40)")
    args = parser.parse_args()
    if not inside.is_inside():
        print("this benchmark runs in the lab: vmlat lab run -- …", file=sys.stderr)
        return 2
    try:
        _run(args)
    except VmlatError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    return 0


def _run(args: argparse.Namespace) -> None:
    place = f"kernel {inside.lab().kernel}, scenario {inside.lab().scenario}"
    if args.what == "roundtrip":
        found = roundtrip.measure(args.rounds or 24, args.pings or 40)
        print(render(f"\nRound trip of a ping, {place}", roundtrip.rows(found)))
        return
    counts = instructions.measure(args.rounds or 5, args.pings or 600)
    print(render(f"\nInstructions per packet, {place}", instructions.rows(counts)))


if __name__ == "__main__":
    sys.exit(main())
