"""The command `miros-mesh`, which is also `python -m miros_mesh`: arguments in, exit code out."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from miros_mesh.cli import check, dead_letters, discover, keygen, keys, sequence, snoop, top
from miros_mesh.cli.demo import command as demo
from miros_mesh.cli.migrate import command as migrate
from miros_mesh.cli.options import without_passwords
from miros_mesh.cli.page import command as page
from miros_mesh.errors import MeshError
from miros_mesh.observe.version import version
from miros_mesh.text import printable

# As a shell reports a program that a signal ended: 128 and its number, which is 2 for SIGINT
# and 13 for SIGPIPE.
FAILED, INTERRUPTED, PIPE_CLOSED = 1, 130, 141
# In the order of the help: what a newcomer tries first stands first.
COMMANDS = (
    *(demo, keygen, check, discover, snoop, top, page, sequence, keys, dead_letters),
    migrate,
)
# No room, no quota, and the largest file that there may be: for the user to put right, without a
# traceback.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_SETTINGS_HELP = """\
Settings come from the environment; miros-mesh check says which ones it found.
  nothing set                         embedded: processes of this machine and user, no server
  MIROS_MESH_BROKER_URL               a shared RabbitMQ: amqp://user:password@host/vhost
  RABBIT_USER, RABBIT_PASSWORD        a RabbitMQ on this host
  MIROS_MESH_ENCRYPTION_KEY           the key that all nodes share; make one with keygen
Secrets may be given as files: MIROS_MESH_BROKER_URL_FILE, MIROS_MESH_ENCRYPTION_KEY_FILE. A file
that others may read is refused. Give no password as an argument: each user of this machine sees it
in the list of processes; --broker-file names a file instead.
"""


class _Parser(argparse.ArgumentParser):
    """The parser of each command; what it complains of is shown without passwords."""

    def error(self, message: str) -> NoReturn:
        super().error(without_passwords(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when all is well, 1 when not, 2 for wrong usage."""
    # Not `parse_args`: that complains with the usage of `miros-mesh`, which names no option of a
    # command.
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        _refuse(options.parser, unknown)
    # The library is silent by default; who runs a command wants its warnings.
    logging.basicConfig(format="%(message)s")
    try:
        # When one of the errors below arrives here, the command has left the mesh: it joins inside
        # a `with` or a `try`.
        return int(options.run(options))
    except MeshError as error:
        return _failed(options.command, str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, as `head` does after its lines.
        _give_up_output()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        _give_up_output()
        return _failed(options.command, f"what it prints cannot be written: {error.strerror}")


def _failed(command: str, reason: str) -> int:
    sys.stderr.write(f"miros-mesh {command}: {without_passwords(reason)}\n")
    return FAILED


def _refuse(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Exit with the usage of the command itself, and with the option that may be meant."""
    known = re.findall(r"--[a-z-]+", parser.format_usage())
    options = (word.partition("=")[0] for word in unknown if word.startswith("--"))
    near = [close[0] for option in options if (close := get_close_matches(option, known, n=1))]
    hint = f"; did you mean {' '.join(near)}?" if near else ""
    parser.error(f"unrecognized arguments: {printable(' '.join(unknown))}{hint}")


def _give_up_output() -> None:
    """Send what is still buffered nowhere: Python would try again at exit, and complain."""
    # The descriptor and not `sys.stdout`: what is flushed at exit is in the buffer above it.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="miros-mesh",
        description="Network miros statecharts: try it, make keys, check settings, watch charts.",
        epilog=_SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    for own in commands.choices.values():
        # So that a command can refuse options, after it has compared them, with its own usage.
        own.set_defaults(parser=own)
    return parser


if __name__ == "__main__":
    sys.exit(main())
