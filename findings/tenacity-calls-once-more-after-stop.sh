#!/usr/bin/env bash
# Tenacity 9.2.1: with `sleep_using_event` and `stop_when_event_set` on one event, setting it ends
# the pause at once, as one wants at shutdown; but the function is then called once more before
# the loop ends. `stop` is asked after an attempt, never after a pause. A connect that takes its
# time-out makes a shutdown that much longer, and may succeed after everything else has stopped.
#
# Runs tenacity==9.2.1 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check tenacity==9.2.1 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import threading

import tenacity

stop = threading.Event()


def connect():
    print("called,", "after" if stop.is_set() else "before", "the stop")
    threading.Timer(0.2, stop.set).start()
    raise OSError("down")


try:
    tenacity.Retrying(
        stop=tenacity.stop_when_event_set(stop),
        wait=tenacity.wait_fixed(60),
        sleep=tenacity.sleep_using_event(stop),
        reraise=True,
    )(connect)
except OSError as error:
    print("raised:", error)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
called, before the stop
called, after the stop
raised: down
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
