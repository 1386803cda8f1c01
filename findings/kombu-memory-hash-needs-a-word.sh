#!/usr/bin/env bash
# Kombu 5.7.0: on its memory:// transport (as on its other virtual ones) a topic pattern `door.#`
# does not match the key `door`. In AMQP 0-9-1 "#" stands for zero or more words, and RabbitMQ
# delivers it. A test that passes on memory:// misses events that production gets.
#
# Runs kombu==5.7.0 in a temporary folder, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check kombu==5.7.0 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import kombu

channel = kombu.Connection("memory://").channel()
house = kombu.Exchange("house", type="topic")
queue = kombu.Queue("doors", house, routing_key="door.#")(channel)
queue.declare()
producer = kombu.Producer(channel, exchange=house)
for key in ("door", "door.open", "door.open.slowly"):
    producer.publish(key, routing_key=key)
while message := queue.get(no_ack=True):
    print("delivered:", message.payload)
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
delivered: door.open
delivered: door.open.slowly
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
