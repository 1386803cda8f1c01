"""The networks that a monitor can watch, and the kinds of record that come by each."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

from miros_mesh.errors import SelectionError

SnoopNetwork = Literal["snoop_trace", "snoop_spy"]
"""Transitions of charts, or every step of their event processors."""
SNOOP_NETWORKS: tuple[SnoopNetwork, ...] = ("snoop_trace", "snoop_spy")
# A scribble goes by the trace; that of a chart which takes part in spy alone, by the spy.
_KINDS: Mapping[SnoopNetwork, tuple[str, ...]] = {
    "snoop_trace": ("trace", "scribble"),
    "snoop_spy": ("spy", "scribble"),
}


def known(networks: Iterable[SnoopNetwork]) -> tuple[SnoopNetwork, ...]:
    """Return the networks. Raises `SelectionError` for none, or for one that does not exist."""
    given = tuple(networks)
    wrong = [each for each in given if each not in SNOOP_NETWORKS]
    # No network is no wish for both: a program that computes its list would watch more than it
    # asked.
    if wrong or not given:
        raise SelectionError(
            (f"networks must be some of {', '.join(SNOOP_NETWORKS)}, and not {wrong or 'none'}",)
        )
    return given


def check_kinds(patterns: Iterable[str], networks: Sequence[SnoopNetwork]) -> None:
    """Raise `SelectionError` for each pattern of kinds by which no record would ever be shown."""
    if problems := tuple(_problems(patterns, networks)):
        raise SelectionError(problems)


def _problems(patterns: Iterable[str], networks: Sequence[SnoopNetwork]) -> Iterator[str]:
    # A dictionary for its order, in which the message names the kinds.
    every = dict.fromkeys(kind for kinds in _KINDS.values() for kind in kinds)
    coming = {kind for network in networks for kind in _KINDS[network]}
    for pattern in patterns:
        fitting = fnmatch.filter(every, pattern)
        if not fitting:
            yield f"no record is of kind {pattern!r}; kinds are {', '.join(every)}"
        elif coming.isdisjoint(fitting):
            yield f"no record of kind {pattern!r} comes by {' or '.join(networks)} alone"
