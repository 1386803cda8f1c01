"""What the options of several commands have in common."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from miros_mesh.config.secret_file import SecretFile
from miros_mesh.errors import SecretFileError

LONGEST_RUN_S = 3600
"""How long a command may be asked to last: an hour."""

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001
"""What each command adds its own parser to."""


BrokerOption: TypeAlias = str | SecretFile | None
"""What `--broker` or `--broker-file` names; None when neither is given."""

# Up to the last @, as a password that was not percent-encoded may hold one.
_WITH_PASSWORD: Final = re.compile(r"(://[^\s/@:]*):\S+@")


def add_broker(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Give the command two options that name a broker in place of the environment's."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument(
        "--broker",
        metavar="URL",
        action=_BrokerAction,
        help=f"{meaning}; a password in it is seen by every user of this machine, in the list of "
        "processes: use --broker-file",
    )
    either.add_argument(
        "--broker-file",
        metavar="FILE",
        dest="broker",
        type=_in_file,
        help="the same, with the URL in a file that only you may read (mode 600)",
    )


def without_passwords(text: str) -> str:
    """Return the text with `***` for the passwords of URLs."""
    return _WITH_PASSWORD.sub(r"\1:***@", text)


def _in_file(path: str) -> str | SecretFile:
    file = SecretFile(Path(path))
    if not file.once:
        return file
    # The end of a pipe, as a shell's `<(command)` is: settings may be read several times.
    try:
        return file.read()
    except SecretFileError as error:
        raise argparse.ArgumentTypeError(f"it {error}") from None


class _BrokerAction(argparse.Action):
    """Keeps the URL, and warns of a password in it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        _option: str | None = None,
    ) -> None:
        if _WITH_PASSWORD.search(str(values)):
            sys.stderr.write(
                f"{parser.prog}: the password in --broker is in the list of processes, for every "
                "user of this machine; use --broker-file FILE\n"
            )
        setattr(namespace, self.dest, values)


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
