#!/usr/bin/env bash
# miros 4.2.1: a transition to a state that is five deep in another branch, with an initial transition
# that goes four deeper, enters a state outside a second time and leaves out the outermost of those four:
# its entry action never runs, though the chart is within it.
#
# Runs miros==4.2.1 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check miros==4.2.1 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
from miros import ActiveObject, Event, return_status, signals, spy_on

import time

AROUND = {"outer": None, "idle": "outer",
          "t1": "outer", "t2": "t1", "t3": "t2", "t4": "t3", "t5": "t4",
          "u1": "t5", "u2": "u1", "u3": "u2", "u4": "u3"}
states = {}


def state(name):
    def handler(chart, event):
        if event.signal == signals.ENTRY_SIGNAL:
            entered.append(name)
            return return_status.HANDLED
        if name == "idle" and event.signal == signals.GO:
            return chart.trans(states["t5"])
        if name == "t5" and event.signal == signals.INIT_SIGNAL:
            return chart.trans(states["u4"])
        around = AROUND[name]
        chart.temp.fun = states[around] if around else chart.top
        return return_status.SUPER

    handler.__name__ = name
    return spy_on(handler)


states.update((name, state(name)) for name in AROUND)
entered = []
chart = ActiveObject("deep")
chart.start_at(states["idle"])
entered.clear()
chart.post_fifo(Event(signal=signals.GO))
time.sleep(1)
print("to enter:", *"t1 t2 t3 t4 t5 u1 u2 u3 u4".split())
print("entered: ", *entered)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
to enter: t1 t2 t3 t4 t5 u1 u2 u3 u4
entered:  t1 t2 t3 t4 t5 t2 u2 u3 u4
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
