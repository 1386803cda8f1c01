#!/usr/bin/env bash
# Kombu 5.7.0: `publish(expiration=seconds)` takes fractions of a second and cuts them to whole
# milliseconds, so half a millisecond becomes "0". To RabbitMQ an expiration of 0 means: deliver
# at once or never. Whoever computes a remaining time to live as it runs out sends messages that
# vanish.
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
queue = kombu.Queue("q", kombu.Exchange("e"), routing_key="q")(channel)
queue.declare()
producer = kombu.Producer(channel, exchange=kombu.Exchange("e"))
for seconds in (0.0005, 0.9, 1.9999, 2):
    producer.publish("x", routing_key="q", expiration=seconds)
    message = queue.get(no_ack=True)
    print(f"{seconds} s is sent as {message.properties['expiration']!r} ms")
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py")
expected=$(cat <<'EXPECTED'
0.0005 s is sent as '0' ms
0.9 s is sent as '900' ms
1.9999 s is sent as '1999' ms
2 s is sent as '2000' ms
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
