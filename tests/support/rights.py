"""Who is closed out by the modes of files: root, as whom tests may run, is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_NO_ONE = 65_534


@contextmanager
def without_rights() -> Iterator[None]:
    """Be a user who owns nothing, in place of root."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(_NO_ONE)
    try:
        yield
    finally:
        os.seteuid(before)
