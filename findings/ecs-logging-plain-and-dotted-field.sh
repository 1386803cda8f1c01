#!/usr/bin/env bash
# ecs-logging 2.3.0 with structlog: an event with a plain field and a dotted one that begins with
# it (`user` and `user.id`) raises TypeError in the call that logs. Either alone is fine, and
# which fields come together may depend on bound context variables that another module has set.
#
# Runs ecs-logging==2.3.0 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check ecs-logging==2.3.0 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import ecs_logging

write = ecs_logging.StructlogFormatter()
for fields in ({"user": "ann"}, {"user.id": "7"}, {"user": "ann", "user.id": "7"}):
    try:
        write(None, "info", {"event": "door opened", **fields})
        print(*fields, "is written")
    except TypeError:
        print(*fields, "raises TypeError")
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
user is written
user.id is written
user user.id raises TypeError
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
