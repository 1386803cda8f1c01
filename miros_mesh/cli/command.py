"""Arguments in, exit code out."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version

from miros_mesh.cli.check import check
from miros_mesh.cli.demo import demo
from miros_mesh.cli.discover import discover
from miros_mesh.cli.sequence import add_sequence
from miros_mesh.config import MeshConfig
from miros_mesh.errors import MeshError
from miros_mesh.wire import generate_key

OK, FAILED, INTERRUPTED = 0, 1, 130
LONGEST_DEMO_S = 3600
LONGEST_DISCOVERY_S = 600

_DISCOVER_HELP = """\
Look for the brokers of other hosts, as a node with these settings would, and say what is there.
Nothing is joined and nothing is declared. Exit code 0 if a broker of our mesh was found.

What is sent: manual logs in at each host of the hosts file; lan opens a TCP connection to the
broker's port at up to 1,024 addresses of this host's own private networks, whatever the cache says,
and logs in where somebody answers; dns asks the name server, and logs in at what it names. A login
without TLS shows user and password to whoever listens there. MIROS_MESH_LAN=off switches lan off,
whatever is asked for here.
"""

_SETTINGS_HELP = """\
Settings come from the environment; miros-mesh check says which ones it found.
  nothing set                         embedded: processes of this machine and user, no server
  MIROS_MESH_BROKER_URL               a shared RabbitMQ: amqp://user:password@host/vhost
  RABBIT_USER, RABBIT_PASSWORD        a RabbitMQ on this host
  MIROS_MESH_ENCRYPTION_KEY           the key that all nodes share; make one with keygen
Secrets may be given as files: MIROS_MESH_BROKER_URL_FILE, MIROS_MESH_ENCRYPTION_KEY_FILE.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when all is well, 1 when not, 2 for wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except MeshError as error:
        sys.stderr.write(f"miros-mesh {options.command}: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="miros-mesh",
        description="Network miros statecharts: try it, make keys, check settings.",
        epilog=_SETTINGS_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version('miros-mesh')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_keygen(commands)
    _add_check(commands)
    _add_discover(commands)
    add_sequence(commands)
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
        "--sources", type=_words, metavar="manual,lan,dns", help="default: those of the settings"
    )
    parser.add_argument(
        "--timeout",
        type=_discovery_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long at most (default %(default)g)",
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


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]


def _discovery_seconds(text: str) -> float:
    return _seconds(text, LONGEST_DISCOVERY_S)


def _run_demo(options: argparse.Namespace) -> int:
    color = not options.no_color and "NO_COLOR" not in os.environ and sys.stdout.isatty()
    return demo(_with_key(options.broker), seconds=options.seconds, color=color)


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
