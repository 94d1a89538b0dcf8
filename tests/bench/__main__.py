"""`python -m tests.bench [NAME…] [--quick]`: the measured figures, side by side in one run, as one table.

Prints a line as soon as it is known, and the whole table at the end. Slowness is reported, never a failure.
"""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module

from tests.bench.table import Options, Row, cells, render

NAMES = ("fold", "replay", "verify", "audit", "latency", "deadline", "restart", "router", "catalog", "sizing", "simulator")


def bench(name: str) -> Callable[[Options], Iterable[Row]]:
    """The bench of that name; imported only now, so that one runs without the others."""
    run: Callable[[Options], Iterable[Row]] = import_module(f"tests.bench.bench_{name}").run
    return run


def measured(name: str, options: Options) -> Iterator[Row]:
    """A bench's rows; where it breaks, a row that says so, and the others go on."""
    try:
        yield from bench(name)(options)
    except Exception as error:
        yield Row(f"{name}", "", f"not measured: {type(error).__name__}: {error}"[:120], met=False)


def main() -> int:
    """Run benches in the order of the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which ones: {', '.join(NAMES)} (all unless given)")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: for a first look, not for the record")
    given = parser.parse_args()
    if unknown := set(given.names) - set(NAMES):
        parser.error(f"no such bench: {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(143))  # so that brokers, workers and load end with us
    options, rows = Options(given.quick), []
    for name in [name for name in NAMES if name in (given.names or NAMES)]:
        for row in measured(name, options):
            rows.append(row)
            print(f"{name}: " + " | ".join(filter(None, cells(row))), file=sys.stderr, flush=True)
    print(render(rows))
    print(f"\nPython {platform.python_version()}, {os.cpu_count()} cores{', --quick' if options.quick else ''}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
