"""Which step of a rotation may follow, by what the nodes have."""

from __future__ import annotations

import pytest

from miros_mesh.cli.key_steps import QUIET_S, NodeKeys, next_steps

OLD, NEW = "0000aaaa", "1111bbbb"
SEEN, LONG_AGO = 1.0, QUIET_S + 12


def node(name: str, *keys: str, since: float = 0.0, **idle: float | None) -> NodeKeys:
    idle_s = {OLD: idle.get("old", SEEN), NEW: idle.get("new")}
    return NodeKeys(name, keys[0], since, {key: idle_s[key] for key in keys})


def only(*nodes: NodeKeys) -> tuple[bool, str]:
    (step,) = next_steps(nodes)
    return step.safe, step.text


def test_with_one_key_there_is_nothing_to_do() -> None:
    assert only(node("a", OLD), node("b", OLD)) == (
        True,
        f"every node has {OLD} and no other key: nothing to do",
    )


def test_a_key_is_added_everywhere_before_it_is_used() -> None:
    safe, text = only(node("a", OLD, NEW), node("b", OLD), node("c", OLD))
    assert not safe
    assert text == f"not on b and c: {NEW}; add it there before a node uses it"

    safe, text = only(node("a", OLD, NEW), node("b", OLD, NEW))
    assert safe
    assert f"every node has {NEW}" in text
    assert text.endswith("If it is the old key: remove it; if it is the new one: use it")


def test_a_node_that_lacks_the_key_that_another_uses_is_named() -> None:
    steps = next_steps([node("a", NEW, OLD, since=9.0, new=SEEN), node("b", OLD)])
    assert [each.safe for each in steps] == [False]
    assert steps[0].text.startswith(
        f"not on b: {NEW}, which seals what comes from a: add it there now"
    )
    # Of a process that b has not heard before nothing is asked for.
    assert steps[0].text.endswith("dead-letters retry --all --reason undecryptable")


def test_nodes_that_use_the_older_key_are_named() -> None:
    safe, text = only(node("a", NEW, OLD, since=9.0, new=SEEN), node("b", OLD, NEW, new=SEEN))
    assert safe
    assert text == f"every node has {NEW}: use it on b too"


@pytest.mark.parametrize("idle_s", [SEEN, LONG_AGO])
def test_the_old_key_goes_when_no_frame_of_it_comes_any_more(idle_s: float) -> None:
    safe, text = only(
        node("a", NEW, OLD, since=9.0, new=SEEN, old=LONG_AGO),
        node("b", NEW, OLD, since=9.0, new=SEEN, old=idle_s),
    )
    assert safe is (idle_s == LONG_AGO)
    assert ("remove it" in text) is safe
    assert ("wait" in text) is not safe


def test_an_old_key_that_some_have_removed_goes_from_the_others_too() -> None:
    safe, text = only(
        node("a", NEW, since=9.0, new=SEEN), node("b", NEW, OLD, since=9.0, new=SEEN, old=LONG_AGO)
    )
    assert safe
    assert text == f"no node uses {OLD}, and it is gone from a: remove it on b"


def test_frames_of_a_key_that_is_not_known_here_leave_nothing_safe() -> None:
    alike = node("a", OLD), node("b", OLD)
    (step,) = next_steps(alike, unread=2)
    assert not step.safe
    assert step.text.startswith("2 frame(s) of a key that these settings lack came")
    # What is known is told as well.
    strangers, missing = next_steps([node("a", OLD, NEW), node("b", OLD)], unread=2)
    assert not strangers.safe
    assert missing.text.startswith("not on b")
