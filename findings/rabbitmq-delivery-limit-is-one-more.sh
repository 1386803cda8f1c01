#!/usr/bin/env bash
# RabbitMQ 3.10.8 (Debian 12): a quorum queue with `x-delivery-limit` N hands a message out N + 1 times
# before it gives it up: with 1 it comes twice, and with 0 once. A message that was fetched counts as
# well when its channel is closed without a word about it.
#
# Needs rabbitmq-server with epmd and erl. Runs amqp==5.4.2 and a server in a temporary folder, on
# loopback alone, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
servers=$(dirname "$(readlink -f "$(command -v rabbitmq-server || echo /usr/sbin/rabbitmq-server)")")
[ -d /usr/lib/rabbitmq/bin ] && servers=/usr/lib/rabbitmq/bin
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check amqp==5.4.2 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import os
import random
import socket
import subprocess
import sys
import time

import amqp

work, servers = sys.argv[1:]


def free_port():
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


MOST = 30


def handed_out(connection, queue, give_back):
    """How often a message comes that is given back each time; MOST and more is for ever."""
    channel, times, quiet = connection.channel(), 0, time.monotonic() + 3
    while times < MOST and time.monotonic() < quiet:
        message = channel.basic_get(queue)
        if message is None:
            time.sleep(0.05)
            continue
        times, quiet = times + 1, time.monotonic() + 3
        if give_back == "nack":
            channel.basic_reject(message.delivery_tag, requeue=True)
        else:
            channel.close()
            channel = connection.channel()
    return times if times < MOST else f"{MOST} and more"


port, dist, epmd_port = free_port(), free_port(), free_port()
with open(f"{work}/rabbitmq.conf", "w") as conf:
    conf.write(f"listeners.tcp.default = 127.0.0.1:{port}\ndisk_free_limit.absolute = 1MB\n")
with open(f"{work}/plugins", "w") as plugins:
    plugins.write("[].\n")
env = {
    **{k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))},
    "HOME": work,
    "ERL_EPMD_ADDRESS": "127.0.0.1",
    "ERL_EPMD_PORT": str(epmd_port),
    "RABBITMQ_NODENAME": "finding@localhost",
    "RABBITMQ_DIST_PORT": str(dist),
    "RABBITMQ_MNESIA_BASE": f"{work}/mnesia",
    "RABBITMQ_LOG_BASE": f"{work}/log",
    "RABBITMQ_CONFIG_FILE": f"{work}/rabbitmq.conf",
    "RABBITMQ_CONF_ENV_FILE": f"{work}/none",
    "RABBITMQ_ENABLED_PLUGINS_FILE": f"{work}/plugins",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
    # With input allowed the server ends with its input, and so with this program.
    "RABBITMQ_ALLOW_INPUT": "1",
}
epmd = subprocess.Popen(["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"])
server = subprocess.Popen(
    [f"{servers}/rabbitmq-server"],
    env=env,
    stdin=subprocess.PIPE,
    stdout=open(f"{work}/output", "ab"),
    stderr=subprocess.STDOUT,
    start_new_session=True,
)
try:
    end = time.monotonic() + 180
    while True:
        try:
            connection = amqp.Connection(f"127.0.0.1:{port}")
            connection.connect()
            break
        except (OSError, amqp.AMQPError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
    for kind, limit, give_back in (
        ("quorum", 0, "nack"),
        ("quorum", 1, "nack"),
        ("quorum", 2, "nack"),
        ("quorum", 2, "close"),
    ):
        arguments = {"x-queue-type": kind, "x-delivery-limit": limit}
        queue = f"{kind}-{limit}-{give_back}"
        channel = connection.channel()
        channel.confirm_select()
        channel.queue_declare(queue, durable=True, auto_delete=False, arguments=arguments)
        channel.basic_publish_confirm(amqp.Message("hello", delivery_mode=2), "", queue)
        print(kind, f"limit {limit}, given back by {give_back}:", end=" ")
        print("came", handed_out(connection, queue, give_back), "times")
finally:
    server.stdin.close()
    server.wait(60)
    epmd.terminate()
    epmd.wait()
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py" "$work" "$servers")
expected=$(cat <<'EXPECTED'
quorum limit 0, given back by nack: came 1 times
quorum limit 1, given back by nack: came 2 times
quorum limit 2, given back by nack: came 3 times
quorum limit 2, given back by close: came 3 times
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
