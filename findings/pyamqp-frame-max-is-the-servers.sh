#!/usr/bin/env bash
# py-amqp 5.4.2: the `frame_max` that a program gives to `Connection` has no effect on RabbitMQ. The
# two are not brought to the smaller one, as the heartbeat is and as AMQP 0-9-1 means it: what the
# server proposes (131072) is taken whole and sent back, so frames are larger than was asked for.
# `channel_max` is treated alike. pika, given the same, keeps to the smaller one.
#
# Needs rabbitmq-server with epmd and erl. Runs amqp==5.4.2, pika==1.3.2 and a server in a temporary
# folder, on loopback alone, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
servers=$(dirname "$(readlink -f "$(command -v rabbitmq-server || echo /usr/sbin/rabbitmq-server)")")
[ -d /usr/lib/rabbitmq/bin ] && servers=/usr/lib/rabbitmq/bin
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check amqp==5.4.2 pika==1.3.2 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import os
import random
import socket
import subprocess
import sys
import time

import amqp
import pika

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
            one = pika.BlockingConnection(
                pika.ConnectionParameters("127.0.0.1", port, frame_max=8192, channel_max=10)
            )
            break
        except pika.exceptions.AMQPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
    tuned = one._impl.params
    print("pika, asked for 8192 and 10:", tuned.frame_max, tuned.channel_max)
    one.close()
    other = amqp.Connection(f"127.0.0.1:{port}", frame_max=8192, channel_max=10)
    other.connect()
    print("py-amqp, asked for 8192 and 10:", other.frame_max, other.channel_max)
    other.close()
finally:
    server.stdin.close()
    server.wait(60)
    epmd.terminate()
    epmd.wait()
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py" "$work" "$servers")
expected=$(cat <<'EXPECTED'
pika, asked for 8192 and 10: 8192 10
py-amqp, asked for 8192 and 10: 131072 2047
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
