"""A chart and its inbox; property tests judge results and not speed."""

from __future__ import annotations

import pytest
from hypothesis import settings

from support.inboxes import Chart, Notes

# A busy machine must not fail them.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def chart(notes: Notes) -> Chart:
    """A chart that has started."""
    started = Chart(observer=notes)
    started.inbox.open()
    return started
