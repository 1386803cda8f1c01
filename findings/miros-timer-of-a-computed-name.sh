#!/usr/bin/env bash
# miros 4.2.1: `cancel_events` compares signal names with `is`. A periodic event whose name was
# written in the source is cancelled; one whose name was computed, or read from a file or a
# network, goes on for ever, though both names are equal. `sys.intern` of the name makes them the
# same.
#
# Runs miros==4.2.1 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check miros==4.2.1 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import time

from miros import ActiveObject, Event, return_status, spy_on

ticks = []


@spy_on
def ticking(chart, event):
    if event.signal_name == "tick":
        ticks.append(event)
    elif event.signal_name not in ("ENTRY_SIGNAL", "INIT_SIGNAL"):
        chart.temp.fun = chart.top
        return return_status.SUPER
    return return_status.HANDLED


def ticks_after_cancelling(name):
    chart = ActiveObject("clock")
    chart.start_at(ticking)
    chart.post_fifo(Event(signal=name), period=0.05, times=0, deferred=True)
    time.sleep(0.2)
    chart.cancel_events(Event(signal="tick"))
    time.sleep(0.2)
    before = len(ticks)
    time.sleep(1)
    return "it goes on" if len(ticks) > before else "it has ended"


print("a literal name:", ticks_after_cancelling("tick"))
print("an equal name, computed:", ticks_after_cancelling("".join(["ti", "ck"])))
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
a literal name: it has ended
an equal name, computed: it goes on
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
