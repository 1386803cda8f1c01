#!/usr/bin/env bash
# prometheus-client 0.26.0: in multiprocess mode `Gauge.set_function` is accepted without an error
# or a warning, and the function is never called: the gauge is exposed as 0. A queue that is full
# looks empty, where a gauge that is `set` shows its value.
#
# Runs prometheus-client==0.26.0 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check prometheus-client==0.26.0 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import os
import tempfile

with tempfile.TemporaryDirectory() as folder:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
    from prometheus_client import CollectorRegistry, Gauge, generate_latest, multiprocess

    registry = CollectorRegistry()
    Gauge("by_function", "A gauge.", registry=registry).set_function(lambda: 42)
    Gauge("by_set", "A gauge.", registry=registry).set(42)
    exposed = CollectorRegistry()
    multiprocess.MultiProcessCollector(exposed)
    for line in generate_latest(exposed).decode().splitlines():
        if not line.startswith("#"):
            print(line.partition("{")[0], line.rpartition(" ")[2])
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
by_function 0.0
by_set 42.0
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
