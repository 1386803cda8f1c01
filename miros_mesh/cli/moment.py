"""Points in time as people write them: the type of the option `--since`."""

from __future__ import annotations

import argparse
import re
import time
from datetime import datetime

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])")


def moment(text: str) -> float:
    """Return the seconds since the epoch of `10m` (ago), or of an ISO time, by default local."""
    if ago := _AGO.fullmatch(text):
        return time.time() - float(ago[1]) * _SECONDS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(
            "a time ago such as 90s, 10m, 2h, 1d is needed, or one such as 2026-11-21T03:08"
        ) from None
