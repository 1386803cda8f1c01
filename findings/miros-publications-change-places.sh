#!/usr/bin/env bash
# miros 4.2.1: `publish` puts events into a heap that compares nothing but their priorities. Events
# of one priority, the default for all, leave it in another order than they were published in, as
# soon as a few wait at the same time.
#
# Runs miros==4.2.1 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check miros==4.2.1 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
from miros.activeobject import ActiveFabric
from miros import Event

fabric = ActiveFabric()
heard = []
fabric.subscribe(heard, Event(signal="number"))
for number in range(10):
    fabric.publish(Event(signal="number", payload=number))
fabric.start()
while len(heard) < 10:  # handed over by a thread
    pass
print("published:", list(range(10)))
print("heard:    ", [event.payload for event in heard])
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
published: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
heard:     [0, 2, 6, 9, 8, 5, 7, 4, 1, 3]
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
