"""python3 -m tests.vm [--cut SECONDS] [--put PATH=FILE ...] -- COMMAND: runs it in a machine; the program is
/test/wherry there (WHERRY says which one), the tests are in /test/tests."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from .image import libraries_of, make
from .machine import Machine


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 -m tests.vm", description=__doc__)
    parser.add_argument("--cut", type=float, metavar="SECONDS", help="cut the power so long after the command began")
    parser.add_argument("--put", action="append", default=[], metavar="PATH=FILE", help="a further file or folder")
    parser.add_argument("--limit", type=float, default=600, metavar="SECONDS")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    program = Path(os.environ.get("WHERRY", "build/debug/wherry"))
    files: dict[str, Path | str] = {"wherry": program, "tests": Path(__file__).parent.parent}
    files |= {name: Path(file) for name, file in (item.split("=", 1) for item in args.put)}
    with Machine(make(libraries_of(program))) as machine:
        outcome = machine.run(args.command, files, limit=args.limit, cut_after=args.cut)
    sys.stdout.write(outcome.output)
    if outcome.status is None:
        print("the power was cut" if args.cut else outcome.console, file=sys.stderr)
        return 3
    return outcome.status


if __name__ == "__main__":
    sys.exit(main())
