"""A script as it is, with the peers' transforms replaced: python -m xp_istft.patch script.py arguments."""

from __future__ import annotations

import argparse
import runpy
import sys
from pathlib import Path

import xp_istft

from .peers import PEERS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m xp_istft.patch", description=__doc__)
    parser.add_argument("--only", metavar="PEERS", help=f"some of {', '.join(PEERS)}; default all that are installed")
    parser.add_argument("--speeds", metavar="FILE", help="a table that xp_istft.patch.measure wrote on this machine")
    parser.add_argument("--report", action="store_true", help="say at the end, on stderr, which calls were taken")
    parser.add_argument("-m", dest="module", action="store_true", help="the script is the name of a module")
    parser.add_argument("script")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    chosen = parser.parse_args()
    try:
        xp_istft.patch(*chosen.only.split(",") if chosen.only else (), speeds=chosen.speeds)
    except ValueError as cause:
        parser.error(str(cause))
    sys.argv = [chosen.script, *chosen.arguments]
    try:
        if chosen.module:
            runpy.run_module(chosen.script, run_name="__main__", alter_sys=True)
        else:
            sys.path[0] = str(Path(chosen.script).resolve().parent)
            runpy.run_path(chosen.script, run_name="__main__")
    finally:
        if chosen.report:
            print(xp_istft.patch.report(), file=sys.stderr)


if __name__ == "__main__":
    main()
