"""What a node remembers of its local network, and what it sends for the rest."""

from __future__ import annotations

import json
import time

from lan.hosts import LIMIT_S, A, B, C, Node, Street, all_hear_each_other
from support.waiting import wait_until

# Of the 253 other addresses of a /24.
MOST_OF_THEM = 200


def found_by(street: Street) -> tuple[Node, ...]:
    """Two hosts, and a third one that has searched, found them and gone."""
    others = street.start(B, C)
    searcher = street.start(A)[0]
    searcher.wait_up(street.addresses(B, C))
    wait_until(lambda: street.cache(A).exists(), LIMIT_S)
    street.end(searcher)
    return tuple(others)


def asked(sent: list[str]) -> set[str]:
    """The addresses that a host tried to reach, or asked the hardware address of."""
    return {said.partition(" ")[2].removesuffix(":5672") for said in sent}


def test_a_cold_start_sends_nothing_but_arp_and_connections_to_port_5672(street: Street) -> None:
    street.sniff(A)
    node = street.start(A)[0]
    node.wait_for("searched", source="lan")
    sent = street.sniffed(A)

    assert {said.partition(" ")[0] for said in sent} == {"arp", "syn"}
    assert all(said.endswith(":5672") for said in sent if said.startswith("syn"))
    assert asked(sent) <= {f"192.168.7.{number}" for number in range(1, 255)} - {street.address(A)}
    assert len(asked(sent)) > MOST_OF_THEM


def test_a_warm_start_from_the_cache_sends_no_scan(street: Street) -> None:
    others = found_by(street)

    # When it starts again, with a young cache
    street.sniff(A)
    again = street.start(A)[0]
    again.wait_up(street.addresses(B, C))
    all_hear_each_other([again, *others])
    sent = street.sniffed(A)

    # Then it has spoken to those in the cache, and asked for no other
    assert asked(sent) == street.addresses(B, C)
    assert again.facts("cache_read", hit=True)
    assert not again.facts("searched", source="lan")
    assert again.verdicts() == {}


def test_an_expired_cache_scans_again(street: Street) -> None:
    # Given a cache that was made more than half an hour ago
    found_by(street)
    cache = json.loads(street.cache(A).read_text())
    for search in cache["searches"].values():
        search["found_at"] = time.time() - 31 * 60
    street.cache(A).write_text(json.dumps(cache))

    # When the host starts again
    street.sniff(A)
    again = street.start(A)[0]
    again.wait_for("searched", source="lan", found=2)
    sent = street.sniffed(A)

    # Then it has searched the whole network, and the cache is young again
    assert again.facts("cache_read", hit=False)
    assert len(asked(sent)) > MOST_OF_THEM
    wait_until(lambda: found_lately(street), LIMIT_S)


def found_lately(street: Street) -> bool:
    searches = json.loads(street.cache(A).read_text())["searches"].values()
    return all(time.time() - search["found_at"] < 60 for search in searches)


def test_the_cache_holds_no_secret_and_only_its_owner_reads_it(street: Street) -> None:
    found_by(street)
    text = street.cache(A).read_text()
    assert set(next(iter(json.loads(text)["searches"].values()))["addresses"]) == street.addresses(
        B, C
    )
    assert "rabbit" not in text
    assert street.key not in text
    assert street.cache(A).stat().st_mode & 0o777 == 0o600


def test_a_cache_that_was_carried_from_another_host_is_as_good_as_an_own_one(
    street: Street,
) -> None:
    # Given what A has found, B and C, carried to B, which has found nothing yet
    b, c = found_by(street)
    street.end(b)
    carried = street.cache(B)
    carried.unlink(missing_ok=True)
    carried.write_text(street.cache(A).read_text())

    # When B starts
    street.sniff(B)
    again = street.start(B)[0]
    again.wait_up(street.addresses(C))
    all_hear_each_other([again, c])
    sent = street.sniffed(B)

    # Then it has not searched, and has recognised itself in the list
    assert asked(sent) <= street.addresses(A, C)
    assert again.facts("cache_read", hit=True)
    assert not again.facts("searched", source="lan")
