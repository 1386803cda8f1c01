#!/usr/bin/env bash
# Kombu 5.7.0: the memory:// transport accepts `max_length` and `message_ttl` of a queue without
# an error or a warning, and heeds neither. RabbitMQ would keep the two newest messages here, and
# after the pause none. A test of what happens when a queue overflows cannot fail on memory://.
#
# Runs kombu==5.7.0 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kombu==5.7.0 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import time

import kombu

channel = kombu.Connection("memory://").channel()
queue = kombu.Queue(
    "q", kombu.Exchange("e"), routing_key="q", max_length=2, message_ttl=0.001
)(channel)
queue.declare()
producer = kombu.Producer(channel, exchange=kombu.Exchange("e"))
for number in range(5):
    producer.publish(number, routing_key="q")
time.sleep(0.1)
kept = []
while message := queue.get(no_ack=True):
    kept.append(message.payload)
print("kept:", kept)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
kept: [0, 1, 2, 3, 4]
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
