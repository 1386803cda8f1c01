"""`miros-mesh dead-letters`: what charts and brokers refused, to look at, put back, or drop."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

from miros_mesh.cli import letter_lines
from miros_mesh.cli.moment import moment
from miros_mesh.cli.options import Commands, add_broker
from miros_mesh.config.settings import MeshConfig
from miros_mesh.dead_letters.dead_letters import DeadLetters, Outcome
from miros_mesh.dead_letters.in_json import as_json, plain
from miros_mesh.dead_letters.letter import Letter, Place
from miros_mesh.errors import EmptyLetterError, LinkError, MeshError
from miros_mesh.service.sigterm import stop_on_sigterm
from miros_mesh.text import printable

_HELP = """\
Dead letters are events that could not be handled or sent: a handler died of them, a payload could
not be read, a broker refused them. Each is kept, sealed, with the reason: those that a chart
received at its home broker (place: broker), those that a broker refused in this user's folder
(place: local). The oldest go when there are more than a thousand in a place.

  miros-mesh dead-letters list                       what is there, and why
  miros-mesh dead-letters show ID                    one letter, with its payload
  miros-mesh dead-letters retry ID                   back to the chart that refused it
  miros-mesh dead-letters retry --all --signal NAME  the same with each that fits
  miros-mesh dead-letters drop ID                    away for good

The settings are those of the mesh (miros-mesh check shows them): without its key a letter is shown
as sealed, and can only be dropped.
"""
_LIST_HELP = """\
Print a line for each letter, the oldest first, without payloads. Exit code 0, also when there is
none. What another operator looks at in the same moment is not listed.
"""
_SHOW_HELP = """\
Print all that is known of a letter, and the payload of its event. Exit code 1 without the key, or
when there is no such letter.
"""
_RETRY_HELP = """\
Send the event again, and remove the letter when the broker has stored it. It goes to the chart that
refused it and to no other, also if that is not running now and its node has a name. What a broker
refused goes to its own topic at that broker, and to no other broker. Correct the cause first: what
is refused again comes back as a new letter. Exit code 1 if a letter could not be sent; it stays,
and the line says why.
"""
_DROP_HELP = """\
Remove letters for good. With --all it asks first; where no terminal is, --yes is needed. Exit code
1 if there was no such letter.
"""
_FILTERS = {
    "reason": "set aside for a reason that fits, such as handler or message_size",
    "node": "set aside by a node that fits",
    "chart": "set aside by a chart that fits",
    "sender": "of events that a chart which fits has sent",
    "signal": "of events whose signal fits",
    "topic": "sent under a topic that fits",
    "peer": "refused by a broker whose address fits",
}


def add(commands: Commands) -> None:
    """Add the command with its four actions."""
    parser = commands.add_parser(
        "dead-letters",
        help="what charts and brokers refused: list, show, retry, drop",
        description=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _action(actions, "list", "what is there, and why", _LIST_HELP, _list)
    _add_filters(listing)
    showing = _action(actions, "show", "one letter with its payload", _SHOW_HELP, _show)
    showing.add_argument("id", metavar="ID", help="as listed; its beginning is enough")
    retrying = _action(actions, "retry", "send events again", _RETRY_HELP, _retry)
    retrying.add_argument(
        "--to", metavar="TOPIC", help="to each chart that listens to this topic instead"
    )
    _add_choice(retrying)
    dropping = _action(actions, "drop", "remove letters for good", _DROP_HELP, _drop)
    dropping.add_argument("--yes", action="store_true", help="do not ask before --all")
    _add_choice(dropping)


def _action(
    actions: Commands, name: str, short: str, long: str, run: Callable[..., int]
) -> argparse.ArgumentParser:
    parser = actions.add_parser(name, help=short, description=long)
    add_broker(parser, "the mesh at this broker")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.set_defaults(run=_run, act=run, parser=parser)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("filters", "Shell patterns; one of each that is given.")
    for name, what in _FILTERS.items():
        group.add_argument(f"--{name}", action="append", metavar="PATTERN", help=f"only {what}")
    group.add_argument("--since", type=moment, metavar="WHEN", help="set aside since (10m, 2h, 1d)")
    group.add_argument("--before", type=moment, metavar="WHEN", help="set aside longer ago")
    group.add_argument("--place", choices=get_args(Place), help="only there")


def _add_choice(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", nargs="*", metavar="ID", help="as listed; its beginning is enough")
    parser.add_argument("--all", action="store_true", help="each that fits the filters")
    _add_filters(parser)


def _run(options: argparse.Namespace) -> int:
    config = MeshConfig.from_env(os.environ, broker_url=options.broker)
    # So that a SIGTERM gives back what is looked at, as Ctrl-C does.
    stop_on_sigterm()
    with DeadLetters(config) as box:
        return int(options.act(box, options))


def _list(box: DeadLetters, options: argparse.Namespace) -> int:
    filters = _filters(options)
    try:
        letters = box.list(**filters)
    except LinkError:
        # What is kept here can be seen without a broker.
        if not options.place and (letters := box.list(**filters | {"place": "local"})):
            _print_list(letters, options)
        raise
    _print_list(letters, options)
    return 0


def _print_list(letters: Sequence[Letter], options: argparse.Namespace) -> None:
    if options.json:
        letter_lines.write_json(map(as_json, letters))
    elif letters:
        letter_lines.write_table(letters)
    if not letters:
        _say(_none(options))


def _show(box: DeadLetters, options: argparse.Namespace) -> int:
    letter = box.find(options.id)
    payload: Any = None
    error: MeshError | None = None
    try:
        payload = box.payload(letter, typed=False)
    except MeshError as raised:
        error = raised
    if options.json:
        shown = {} if error else {"payload": plain(payload)}
        letter_lines.write_json([as_json(letter) | shown])
    else:
        letter_lines.write_facts(letter)
        if not error:
            letter_lines.write_payload(payload)
    if error:
        _say(str(error))
    # A note and a frame have none to show, which is no failure.
    return 0 if error is None or isinstance(error, EmptyLetterError) else 1


def _retry(box: DeadLetters, options: argparse.Namespace) -> int:
    letters = _chosen(box, options)
    if not letters:
        return 0
    outcomes = box.retry_all(options.to, **_these(letters))
    return _tell(letters, outcomes, "sent again", options)


def _drop(box: DeadLetters, options: argparse.Namespace) -> int:
    asks = options.all and not options.yes
    if asks and not (sys.stdin.isatty() and sys.stderr.isatty()):
        options.parser.error("--all needs --yes where it cannot ask")
    letters = _chosen(box, options)
    if not letters or (asks and not _agreed(letters)):
        return 0
    outcomes = box.drop_all(**_these(letters))
    return _tell(letters, outcomes, "dropped", options)


def _chosen(box: DeadLetters, options: argparse.Namespace) -> Sequence[Letter]:
    """Return the letters that are meant now: those that come later are not among them."""
    filters = _filters(options)
    if bool(options.id) == options.all:
        options.parser.error("name letters by their IDs, or take --all")
    if options.id and any(each is not None for each in filters.values()):
        options.parser.error("filters go with --all; an ID names one letter")
    if options.id:
        return list({found.id: found for found in map(box.find, options.id)}.values())
    letters = box.list(**filters)
    if not letters:
        _say(_none(options))
    return letters


def _these(letters: Sequence[Letter]) -> dict[str, set[str]]:
    """Return the filters for these letters, in the places where they are and in no other."""
    return {"id": {each.id for each in letters}, "place": {each.place for each in letters}}


def _agreed(letters: Sequence[Letter]) -> bool:
    sys.stderr.write(f"Drop {_count(len(letters))} for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _tell(
    letters: Sequence[Letter],
    outcomes: Iterator[Outcome],
    word: str,
    options: argparse.Namespace,
) -> int:
    """Print what becomes of each letter as it does; return 1 if one of them is left."""
    done, told = 0, set[str]()
    for outcome in outcomes:
        letter, error = outcome.letter, outcome.error
        told.add(letter.id)
        done += error is None
        if options.json:
            facts = {"id": letter.id, "done": error is None, "error": str(error) if error else None}
            letter_lines.write_json([facts])
        elif error is None:
            sys.stdout.write(f"{letter.id}  {word}: {letter_lines.summary(letter)}\n")
        else:
            _say(f"{letter.id} stays: {error}")
        sys.stdout.flush()
    for letter in letters:
        if letter.id not in told:
            _say(f"{letter.id} is not there any more, or another program looks at it")
    if len(letters) > 1:
        _say(f"{done} of {_count(len(letters))} {word}")
    return 0 if done == len(letters) else 1


def _filters(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in (*_FILTERS, "since", "before", "place")}


def _none(options: argparse.Namespace) -> str:
    filtered = any(each is not None for each in _filters(options).values())
    return "no dead letter fits the filters" if filtered else "there are no dead letters"


def _count(letters: int) -> str:
    return f"{letters} letter{'s' if letters != 1 else ''}"


def _say(words: str) -> None:
    sys.stderr.write(f"miros-mesh dead-letters: {printable(words)}\n")
    sys.stderr.flush()
