"""Nodes on three hosts find each other, whatever network these are on."""

from __future__ import annotations

import pytest

from lan.hosts import NETWORKS, A, B, C, Street, all_hear_each_other, up
from waiting import wait_until

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize("network", NETWORKS)
def test_cold_start_finds_all(street: Street, network: str) -> None:
    street.renumber(NETWORKS[network])

    nodes = street.start(A, B, C)

    for node, others in zip(nodes, [(B, C), (A, C), (A, B)], strict=True):
        wait_until(lambda: up(node) == street.addresses(*others), 20, message=node.name)  # noqa: B023
    all_hear_each_other(nodes)
