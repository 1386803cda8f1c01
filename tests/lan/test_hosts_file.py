"""Hosts that are listed by hand, alive and dead."""

from __future__ import annotations

from lan.hosts import A, B, C, D, Street, hear


def test_a_listed_host_that_is_down_does_no_harm_and_is_found_when_it_comes_up(
    street: Street,
) -> None:
    # Given a list of a live host, one without a broker, one that does not exist, one that is down
    network = street.lan.network
    here, live, down, without = (street.address(host) for host in (A, B, C, D))
    street.list_hosts(A, without, "192.168.7.99", down, live)
    network.cut(C)
    try:
        bob, cyd = street.start(B, C, discovery="manual")

        # When the node starts
        ada = street.start(A, discovery="manual")[0]

        # Then it speaks to the live one while the others are looked at
        hear(ada, [bob], "word")
        ada.wait_for("scouted", host=down, verdict="nothing")
        assert ada.up == {live}
    finally:
        network.mend(C)

    # And when the other one is there, it is found
    ada.wait_up({live, down})
    hear(ada, [bob, cyd], "another_word")
    assert ada.verdicts()["192.168.7.99"] == {"nothing"}
    assert ada.verdicts()[without] == {"nothing"}
    assert not ada.facts("dropped")
    cyd.wait_up({here})
