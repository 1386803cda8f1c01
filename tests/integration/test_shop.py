"""`examples/shop`: every order is charged once, or its repeat is marked, though a service dies."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from support.doc_pages import ROOT

EXAMPLES = ROOT / "examples"
ORDERS = 60
LIMIT_S = 170.0


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.proof)])
def broker(request: pytest.FixtureRequest) -> list[str]:
    if request.param == "embedded":
        return []
    return ["--broker", request.getfixturevalue("vhost_url")]


@pytest.mark.timeout(LIMIT_S + 30)
def test_every_order_is_charged_once_or_its_repeat_is_marked(broker: list[str]) -> None:
    places = os.pathsep.join([str(EXAMPLES), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "shop", "--orders", str(ORDERS), *broker],
        env={**os.environ, "PYTHONPATH": places},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    books = {
        what.strip(): int(times)
        for what, times in re.findall(r"^(.*?) {2,}([\d,]+)$", done.stdout, re.MULTILINE)
    }
    assert books["orders"] == books["shipped"] + books["time-outs"] == ORDERS
    assert books["charged once"] + books["charged again, and marked"] == ORDERS
    assert books["charged again, not marked"] == 0
    assert 0 < books["answered when payment-1 was killed"] < ORDERS
