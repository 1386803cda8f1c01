"""The lines of a log that hold no record, in few words."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from miros_mesh.cli.trace_log import ranges


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([7], "7"),
        ([1, 2, 3, 7], "1-3, 7"),
        ([1, 3, 4], "1, 3-4"),
        (range(1, 30, 2), "1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 5 more places"),
    ],
)
def test_numbers_in_a_row_are_one_range(numbers: Sequence[int], words: str) -> None:
    assert ranges(numbers) == words
