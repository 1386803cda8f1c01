"""miros is left alone: charts of its own classes are and do the same beside the library's."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

from miros import ActiveObject, activeobject, event, hsm, signals

import miros_mesh
from miros_mesh.statechart import signal_table
from miros_mesh.statechart.safe_chart import SafeChart

_STOCK = """
from miros import ActiveObject, Event, return_status, signals, spy_on
from miros.hsm import stripped

@spy_on
def outer(chart, e):
    if e.signal == signals.ENTRY_SIGNAL:
        chart.scribble(f"{type(e).__name__} {vars(e)}")
        return return_status.HANDLED
    if e.signal == signals.HOOK:
        chart.post_fifo(Event(signal="GO"))
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER

@spy_on
def inner(chart, e):
    if e.signal == signals.GO:
        return chart.trans(inner)
    chart.temp.fun = outer
    return return_status.SUPER

def run():
    chart = ActiveObject("stock")
    chart.run_event = lambda *_: None
    chart.start_at(inner)
    for name in ("HOOK", "UNKNOWN", "GO"):
        chart.post_fifo(Event(signal=name))
    chart.complete_circuit()
    print("\\n".join(chart.spy()))
    with stripped(chart.trace()) as lines:
        print("\\n".join(lines))
    print([line[:9] for line in map(str, chart.rtc.tuples)], sorted(vars(chart)))

"""
_BESIDE = """
from miros_mesh.statechart.safe_chart import SafeChart
from miros import Event, spy_on, return_status, signals
for name in ("HOOK", "GO", "UNKNOWN"):
    signals.append(name)

@spy_on
def alone(chart, e):
    chart.temp.fun = chart.top
    return return_status.SUPER

ours = SafeChart("ours")
ours.run_event = lambda *_: None
ours.start_at(alone)
ours.post_fifo(Event(signal="HOOK"))
ours.complete_circuit()
"""


def _seen(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_a_chart_of_miros_does_beside_ours_what_it_does_alone() -> None:
    alone = _seen("from miros import signals\n" + _named() + _STOCK + "run()")
    assert _seen(_STOCK + _BESIDE + "run()") == alone
    assert "GO:inner" in alone


def _named() -> str:
    # In both in the same order, since the numbers of signals are shown.
    return "for name in ('HOOK', 'GO', 'UNKNOWN'):\n    signals.append(name)\n"


def test_no_class_or_function_of_miros_is_replaced() -> None:
    signal_table.guard()
    assert issubclass(SafeChart, ActiveObject)
    ours = Path(miros_mesh.__file__).parent
    seen = 0
    for module in (hsm, activeobject, event):
        owners = [module, *(each for each in vars(module).values() if inspect.isclass(each))]
        for owner in owners:
            for each in vars(owner).values():
                if inspect.isfunction(each):
                    seen += 1
                    assert not each.__module__.startswith("miros_mesh"), each
                    assert ours not in Path(each.__code__.co_filename).parents, each
    assert seen > 100


def test_of_the_signal_table_four_methods_are_replaced_and_no_more() -> None:
    signal_table.guard()
    assert set(vars(signals)) == {
        *("highest_inner_signal", "items", "values", "append", "is_inner_signal")
    }
