"""Every block of code on the pages is run by a test, or the reason stands in a list."""

from __future__ import annotations

import pytest

from support.doc_blocks import FRAGMENTS_NOT_RUN, NOT_RUN, TESTED, Block, blocks
from support.doc_pages import PAGES, ROOT, fragments

LISTED = [block for block in blocks() if not block.is_make]


def words_of(block: Block, listed: dict[str, dict[str, str]]) -> list[str]:
    return [word for word in listed.get(block.page, {}) if word in block.text]


@pytest.mark.parametrize("block", LISTED, ids=lambda block: block.page)
def test_a_block_is_tested_or_has_a_reason(block: Block) -> None:
    assert bool(words_of(block, TESTED)) != bool(words_of(block, NOT_RUN)), (
        f"run it in a test, and name it in support/doc_blocks.py:\n{block.text}"
    )


@pytest.mark.parametrize("listed", [TESTED, NOT_RUN], ids=["tested", "not run"])
def test_each_entry_is_of_a_block(listed: dict[str, dict[str, str]]) -> None:
    used = {(block.page, word) for block in LISTED for word in words_of(block, listed)}
    assert {(page, word) for page, words in listed.items() for word in words} == used


def test_each_test_that_is_named_is_there() -> None:
    named = {file for words in TESTED.values() for file in words.values()}
    assert not [file for file in named if not (ROOT / file).is_file()]


def test_each_fragment_that_is_not_run_is_there() -> None:
    parts = [part for page in PAGES for part in fragments(page)]
    for word in FRAGMENTS_NOT_RUN:
        assert len([part for part in parts if word in part]) == 1


def test_a_language_is_one_that_is_looked_for() -> None:
    known = {"sh", "console", "json", "yaml"}
    assert {block.language for block in blocks()} == known
