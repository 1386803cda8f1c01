"""What the options of several commands have in common."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from typing import TypeAlias

LONGEST_RUN_S = 3600
"""How long a command may be asked to last: an hour."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
"""What each command adds its own parser to."""


def add_broker(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Give the command an option that names a broker in place of the environment's."""
    parser.add_argument("--broker", metavar="URL", help=meaning)


def seconds_up_to(longest: int) -> Callable[[str], float]:
    """Make the type of an option that takes 1 to `longest` seconds."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        # NaN is refused as well: it compares as false with everything.
        if not 1 <= value <= longest:
            raise argparse.ArgumentTypeError(f"a number from 1 to {longest} is needed")
        return value

    return parse


def wants_color(options: argparse.Namespace) -> bool:
    """Tell whether to print colours: at a terminal, unless --no-color or NO_COLOR is set."""
    # NO_COLOR counts unless it is empty (no-color.org).
    return not (options.no_color or os.environ.get("NO_COLOR")) and sys.stdout.isatty()
