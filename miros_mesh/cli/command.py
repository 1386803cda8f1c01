"""Arguments in, exit code out."""

from __future__ import annotations

import argparse
import errno
import logging
import os
import re
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn, get_args

from miros_mesh.cli.check import check
from miros_mesh.cli.demo import demo
from miros_mesh.cli.discover import discover
from miros_mesh.cli.moment import moment
from miros_mesh.cli.sequence import add_sequence
from miros_mesh.cli.snoop import Wanted, snoop
from miros_mesh.cli.top import top
from miros_mesh.config.settings import DiscoverySource, MeshConfig
from miros_mesh.errors import MeshError, SelectionError
from miros_mesh.text import printable
from miros_mesh.wire.keyring import generate_key

OK, FAILED, INTERRUPTED = 0, 1, 130
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST_DEMO_S = 3600
LONGEST_DISCOVERY_S = 600

_DISCOVER_HELP = """\
Look for the brokers of other hosts, as a node with these settings would, and say what is there.
Nothing is joined and nothing is declared. Progress goes to standard error (with --json only if that
is a terminal), the table or the JSON to standard output. Exit code 0 if a broker of our mesh was
found beside our own, 1 if not.

What is sent: manual logs in at each host of the hosts file; lan opens a TCP connection to the
broker's port at up to 1,024 addresses of this host's own private networks, whatever the cache says,
and logs in where somebody answers; dns asks the name server, and logs in at what it names. A login
without TLS shows user and password to whoever listens there. MIROS_MESH_LAN=off switches lan off,
whatever is asked for here.

Verdicts, and what to do:
  ours         a broker with our mesh: nothing to do
  own          the broker of these settings: nothing to do; it is not counted
  nothing      nobody answers there: is the broker up, the port open, the address right?
  not_amqp     something else listens there: correct the port
  certificate  its TLS certificate is not for this address, or nobody vouches for it: renew it, or
               give the authority that signed it
  no_tls       it speaks no TLS at this port: use its TLS port, mostly 5671
  credentials  it refuses user or password: make the user there, or correct the settings
  no_mesh      a broker without our mesh: start a node there, allow the user the virtual host
  other_key    a mesh of another key: give both the same MIROS_MESH_ENCRYPTION_KEY
  failed       the look itself failed: try again, the log says why
"""

_SETTINGS_HELP = """\
Settings come from the environment; miros-mesh check says which ones it found.
  nothing set                         embedded: processes of this machine and user, no server
  MIROS_MESH_BROKER_URL               a shared RabbitMQ: amqp://user:password@host/vhost
  RABBIT_USER, RABBIT_PASSWORD        a RabbitMQ on this host
  MIROS_MESH_ENCRYPTION_KEY           the key that all nodes share; make one with keygen
Secrets may be given as files: MIROS_MESH_BROKER_URL_FILE, MIROS_MESH_ENCRYPTION_KEY_FILE.
"""


_SNOOP_HELP = """\
Print what every chart does that has a snoop stream enabled, until Ctrl-C. A line that begins with
[--] is a gap: records that were told and are not shown, and why.

A broker keeps no records of the past. For --since, keep your own: miros-mesh snoop --json >> FILE.
Then --history FILE --since 10m (or 90s, 2h, 1d, 2026-11-21T03:08) shows that part first and goes on
with what comes; what both have is shown once, what neither has is a gap.

A PATTERN is a name, or a shell pattern such as 'pump*'. An option that is given several times shows
what any of its patterns fits; different options must all fit.
"""

_FILTERS = {
    "node": "nodes with this name",
    "chart": "charts with this name",
    "kind": "trace, spy or scribble",
    "signal": "this signal",
    "state": "steps from, to or within this state",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when all is well, 1 when not, 2 for wrong usage."""
    options, unknown = _parser().parse_known_args(arguments)
    if unknown:
        _refuse(options.parser, unknown)
    # The library is silent by default; whoever runs a command wants its warnings.
    logging.basicConfig(format="%(message)s")
    try:
        return int(options.run(options))
    except MeshError as error:
        sys.stderr.write(f"miros-mesh {options.command}: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone.
        _give_up_output()
        return 128 + signal.SIGPIPE
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        _give_up_output()
        sys.stderr.write(
            f"miros-mesh {options.command}: what it prints cannot be written: {error.strerror}\n"
        )
        return FAILED


def _refuse(parser: argparse.ArgumentParser, unknown: Sequence[str]) -> NoReturn:
    """Leave with the usage of the command itself, and with the option that may be meant."""
    known = re.findall(r"--[a-z-]+", parser.format_usage())
    options = (word.partition("=")[0] for word in unknown if word.startswith("--"))
    near = [close[0] for option in options if (close := get_close_matches(option, known, n=1))]
    hint = f"; did you mean {' '.join(near)}?" if near else ""
    parser.error(f"unrecognized arguments: {printable(' '.join(unknown))}{hint}")


def _give_up_output() -> None:
    """Or Python would try once more at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="miros-mesh",
        description="Network miros statecharts: try it, make keys, check settings, watch charts.",
        epilog=_SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('miros-mesh')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_keygen(commands)
    _add_check(commands)
    _add_discover(commands)
    _add_snoop(commands)
    _add_top(commands)
    add_sequence(commands)
    for command in commands.choices.values():
        command.set_defaults(parser=command)
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "demo",
        help="two statecharts in two processes talk, and you watch",
        description="Run the ergodic example as a NetworkedActiveObject and a NetworkedFactory in "
        "two processes, show their live trace, and count every event. Exit code 1 if one was lost. "
        "At the end the sequence diagram of the run is written into an HTML file in the folder for "
        "temporary files (TMPDIR), and its name is printed.",
    )
    parser.add_argument(
        "--broker", metavar="URL", help="amqp://user:password@host/vhost; default: embedded"
    )
    parser.add_argument(
        "--seconds", type=_seconds, default=20.0, help="how long they talk (default %(default)g)"
    )
    parser.add_argument("--no-color", action="store_true", help="print without colours")
    parser.set_defaults(run=_run_demo)


def _add_keygen(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "keygen",
        help="print a new encryption key",
        description="Print a new Fernet key. Every node of a mesh needs the same one.",
    )
    parser.set_defaults(run=_run_keygen)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="do the settings make sense, and does an event get through?",
        description="Read the settings from the environment, connect, and send an event around. "
        "One line a finding; exit code 1 if one of them is bad.",
    )
    parser.add_argument("--broker", metavar="URL", help="check this broker instead")
    parser.set_defaults(run=_run_check)


def _add_discover(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "discover",
        help="which brokers of other hosts would a node find, and what are the others?",
        description=_DISCOVER_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--broker", metavar="URL", help="the credentials to look with")
    parser.add_argument(
        "--sources", type=_sources, metavar="manual,lan,dns", help="default: those of the settings"
    )
    parser.add_argument(
        "--timeout",
        type=_discovery_seconds,
        default=30.0,
        metavar="SECONDS",
        help=f"how long at most, 1 to {LONGEST_DISCOVERY_S} (default %(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=_run_discover)


def _run_discover(options: argparse.Namespace) -> int:
    return discover(
        os.environ,
        broker_url=options.broker,
        sources=options.sources,
        timeout_s=options.timeout,
        as_json=options.json,
    )


def _add_snoop(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "snoop",
        help="what every chart of the mesh does, line by line",
        description=_SNOOP_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--broker", metavar="URL", help="the mesh at this broker")
    add("--trace", action="store_true", help="transitions and notes; default: these and --spy")
    add("--spy", action="store_true", help="every step of the event processors")
    for name, what in _FILTERS.items():
        add(f"--{name}", action="append", default=[], metavar="PATTERN", help=f"only {what}")
    add("--json", action="store_true", help="one ECS object a line")
    add("--history", type=Path, metavar="FILE", help="first what --json wrote into this file")
    add("--since", type=moment, metavar="WHEN", help="of the history: what is younger than that")
    add("--seconds", type=_seconds, metavar="N", help="end after so long; default: never")
    add("--no-color", action="store_true", help="print without colours")
    parser.set_defaults(run=_run_snoop)


def _run_snoop(options: argparse.Namespace) -> int:
    parser: argparse.ArgumentParser = options.parser
    if options.since is not None and options.history is None:
        parser.error("--since needs --history FILE: a broker keeps no records of the past")
    wanted = Wanted(
        trace=options.trace,
        spy=options.spy,
        nodes=options.node,
        charts=options.chart,
        kinds=options.kind,
        signals=options.signal,
        states=options.state,
    )
    try:
        return snoop(
            os.environ,
            wanted,
            broker_url=options.broker,
            history=options.history,
            since=options.since,
            seconds=options.seconds,
            as_json=options.json,
            color=_wants_color(options),
        )
    except SelectionError as error:
        parser.error(str(error))


def _add_top(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "top",
        help="a live table of nodes and charts",
        description="A live table of the nodes that have a snoop stream enabled, and of their "
        "charts that take part: state, events per second, last event; outbox, brokers. Exit code 1 "
        "if there was none. Needs the extra: pip install 'miros-mesh[top]'.",
    )
    parser.add_argument("--broker", metavar="URL", help="the mesh at this broker")
    parser.add_argument("--once", action="store_true", help="one table; so it is when piped, too")
    parser.add_argument("--json", action="store_true", help="one JSON object, and the end")
    parser.add_argument("--no-color", action="store_true", help="draw without colours")
    parser.set_defaults(run=_run_top)


def _run_top(options: argparse.Namespace) -> int:
    return top(
        os.environ,
        broker_url=options.broker,
        once=options.once,
        as_json=options.json,
        color=_wants_color(options),
    )


def _wants_color(options: argparse.Namespace) -> bool:
    return not (options.no_color or os.environ.get("NO_COLOR")) and sys.stdout.isatty()


def _sources(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    known = get_args(DiscoverySource)
    if wrong := [word for word in words if word not in known]:
        raise argparse.ArgumentTypeError(f"{wrong[0]!r} is no source; known: {', '.join(known)}")
    return words


def _discovery_seconds(text: str) -> float:
    return _seconds(text, LONGEST_DISCOVERY_S)


def _run_demo(options: argparse.Namespace) -> int:
    color = not options.no_color and "NO_COLOR" not in os.environ and sys.stdout.isatty()
    if options.broker or os.environ.get("MIROS_MESH_HOME", "").strip():
        return demo(_with_key(options.broker), seconds=options.seconds, color=color)
    # The user's own folder may hold the store of another version.
    with TemporaryDirectory("", "miros-mesh-demo-", ignore_cleanup_errors=True) as home:
        return demo(MeshConfig(home=Path(home)), seconds=options.seconds, color=color)


def _run_keygen(_: argparse.Namespace) -> int:
    sys.stdout.write(generate_key().decode() + "\n")
    return OK


def _run_check(options: argparse.Namespace) -> int:
    return check(os.environ, broker_url=options.broker)


def _with_key(broker: str | None) -> MeshConfig:
    """The demo needs no key of its owner's: its two charts may share one of their own."""
    if broker is None:
        return MeshConfig()
    return MeshConfig(broker_url=broker, mesh_encryption_key=generate_key())


def _seconds(text: str, longest: float = LONGEST_DEMO_S) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1 <= value <= longest:
        raise argparse.ArgumentTypeError(f"a number from 1 to {longest} is needed")
    return value
