"""Points in time as people write them."""

from __future__ import annotations

import argparse
import time
from datetime import datetime

import pytest

from miros_mesh.cli.moment import moment


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172_800)]
)
def test_a_time_ago(text: str, seconds: float) -> None:
    assert moment(text) == pytest.approx(time.time() - seconds, abs=10)


def test_a_time_without_a_zone_is_local() -> None:
    assert moment("2026-11-21T03:08") == datetime(2026, 11, 21, 3, 8).timestamp()


def test_a_time_with_a_zone_is_there() -> None:
    assert moment("1970-01-01T01:00:10+01:00") == 10


@pytest.mark.parametrize(
    "text", ["soon", "10", "10 m", "-1h", "2026-13-01", "0001-01-01T00:00", ""]
)
def test_what_is_no_time_is_refused_with_examples(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="90s, 10m, 2h, 1d is needed"):
        moment(text)
