"""Which partition a key belongs to, and which member handles it: the same for all who ask."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miros_mesh.errors import GroupError
from miros_mesh.networks.group.partitions import PARTITIONS, owners, partition_of

names = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=20, unique=True)


@pytest.mark.parametrize(
    ("key", "partition"),
    [("order-1", 1), ("order-2", 4), (b"order-1", 8), (1, 3), (-1, 14), (2**70, 11), ("", 1)],
)
def test_a_key_has_its_partition_for_ever(key: object, partition: int) -> None:
    # Members of this release and of later ones share a group
    assert partition_of(key) == partition


@given(st.text() | st.binary() | st.integers())
def test_every_key_has_a_partition(key: object) -> None:
    assert partition_of(key) == partition_of(key)
    assert 0 <= partition_of(key) < PARTITIONS


@pytest.mark.parametrize("key", [None, 1.5, ("a", 1), ["a"], object()])
def test_what_is_no_key_is_refused_by_its_type_and_not_its_value(key: object) -> None:
    with pytest.raises(GroupError, match=type(key).__name__):
        partition_of(key)


@given(names, st.randoms())
def test_all_members_find_the_same_owners_and_none_has_more_than_its_share(
    members: list[str], order: object
) -> None:
    found = owners(members)

    order.shuffle(members)  # type: ignore[attr-defined]
    assert owners(members) == found
    assert len(found) == PARTITIONS
    assert max(Counter(found).values()) <= -(-PARTITIONS // len(members))


def test_without_members_there_are_no_owners() -> None:
    assert owners([]) == ()


def test_most_partitions_stay_where_they_are_when_a_member_comes() -> None:
    before, after = owners(["a", "b", "c"]), owners(["a", "b", "c", "d"])

    moved = sum(old != new for old, new in zip(before, after, strict=True))

    assert moved <= PARTITIONS // 2
    assert set(after) == {"a", "b", "c", "d"}
