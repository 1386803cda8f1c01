#!/usr/bin/env bash
# miros 4.2.1: a chart's FIFO has 500 places. `post_fifo` into a full one raises nothing and drops
# neither the oldest event nor the one that is posted: it overwrites the newest that waits, so
# that of 600 events the first 499 and the very last are handled.
#
# Runs miros==4.2.1 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check miros==4.2.1 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import threading
import time

from miros import ActiveObject, Event, return_status, spy_on

gate, handled = threading.Event(), []


@spy_on
def counting(chart, event):
    if event.signal_name == "block":
        gate.wait(10)
    elif event.signal_name == "number":
        handled.append(event.payload)
    elif event.signal_name not in ("ENTRY_SIGNAL", "INIT_SIGNAL"):
        chart.temp.fun = chart.top
        return return_status.SUPER
    return return_status.HANDLED


chart = ActiveObject("counter")
chart.start_at(counting)
chart.post_fifo(Event(signal="block"))
time.sleep(0.5)
for number in range(600):
    chart.post_fifo(Event(signal="number", payload=number))
gate.set()
time.sleep(3)
print(len(handled), "of 600 handled:", handled[0], "to", handled[-2], "and", handled[-1])
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
500 of 600 handled: 0 to 498 and 599
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
