#!/usr/bin/env bash
# miros 4.2.1: an Event inherits from OrderedDict and stores nothing in it, so every Event is false and
# all are equal. `while chart.recall():`, which looks like "recall until none is left", posts one
# deferred event again and stops.
#
# Runs miros==4.2.1 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check miros==4.2.1 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
from miros import Event, return_status, spy_on, ActiveObject

import time


@spy_on
def deferring(chart, event):
    if event.signal_name == "work":
        chart.defer(event)
    elif event.signal_name == "free":
        while chart.recall():
            pass
        print("left behind:", len(chart.defer_queue), "of 3")
    elif event.signal_name not in ("ENTRY_SIGNAL", "INIT_SIGNAL"):
        chart.temp.fun = chart.top
        return return_status.SUPER
    return return_status.HANDLED


print("an event is", bool(Event(signal="work", payload=1)))
print("two of other signals are equal:", Event(signal="a") == Event(signal="b"))
chart = ActiveObject("worker")
chart.start_at(deferring)
for number in range(3):
    chart.post_fifo(Event(signal="work", payload=number))
chart.post_fifo(Event(signal="free"))
time.sleep(1)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
an event is False
two of other signals are equal: True
left behind: 2 of 3
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
