"""Connections that break again and again cost no memory, no descriptor and no thread."""

from __future__ import annotations

import time

import pytest

from faults.flaps import GROWTH_LIMIT_BYTES, Flapping
from faults.traffic import record

# `make chaos` does a thousand.
CUTS = 100


@pytest.mark.proof
def test_connections_cut_again_and_again(vhost_url: str) -> None:
    began = time.monotonic()
    states = list(Flapping(vhost_url, CUTS))
    each_s = (time.monotonic() - began) / len(states)
    warm, last = next(state for state in states if state.warm), states[-1]
    print(last.growth(warm))
    record(f"all connections cut {last.cuts} times, each", last.account, each_s)
    assert last.account.perfect, last.account
    assert last.memory_bytes - warm.memory_bytes < GROWTH_LIMIT_BYTES
    assert (last.descriptors, last.threads) == (warm.descriptors, warm.threads)
