#!/usr/bin/env bash
# miros 4.2.1: a running chart that subscribes to a signal to which any chart of the process has
# subscribed already is not entered, and is not told so: `subscribed` asks whether the signal has
# a subscriber, and not whether this chart is one.
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


@spy_on
def listening(chart, event):
    if event.signal_name == "news":
        heard.append(chart.name)
        return return_status.HANDLED
    chart.temp.fun = chart.top
    return return_status.SUPER


heard = []
charts = [ActiveObject(name) for name in ("first", "second", "third")]
for chart in charts:
    chart.start_at(listening)
for chart in charts:
    chart.subscribe(Event(signal="news"))
charts[0].publish(Event(signal="news"))
time.sleep(1)
print("subscribed:", [chart.subscribed(Event(signal="news"), "fifo") for chart in charts])
print("heard by:", heard)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
subscribed: [True, True, True]
heard by: ['first']
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
