#!/usr/bin/env bash
# RabbitMQ 3.10.8 (Debian 12), one server: a quorum queue that was declared a moment before the server is
# killed is listed again after the start, and is dead. It has no leader and gets none, although its one
# member runs: `basic.consume` gets no answer at all, also after one more start, while a passive declare
# says that it is there and empty. Three seconds after its declaration a queue outlives the same. Who
# deletes it and declares it again has a good one.
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

def started():
    """Start the server, and return it and a connection once it answers."""
    server = subprocess.Popen(
        [f"{servers}/rabbitmq-server"],
        env=env,
        stdin=subprocess.PIPE,
        stdout=open(f"{work}/output", "ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    end = time.monotonic() + 180
    while True:
        try:
            connection = amqp.Connection(f"127.0.0.1:{port}")
            connection.connect()
            return server, connection
        except (OSError, amqp.AMQPError):
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def asked(what, question):
    """Print whether there is an answer within some seconds."""
    connection = amqp.Connection(f"127.0.0.1:{port}", read_timeout=PATIENCE_S)
    connection.connect()
    try:
        question(connection.channel())
        print(f"{what}: answered")
    except socket.timeout:
        print(f"{what}: no answer in {PATIENCE_S} s")
    finally:
        connection.collect()


PATIENCE_S = 20
QUORUM = {"x-queue-type": "quorum"}
epmd = subprocess.Popen(["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"])
server, connection = started()
try:
    for name in ("old", "young"):
        connection.channel().queue_declare(name, durable=True, auto_delete=False, arguments=QUORUM)
        if name == "old":
            time.sleep(3)
    server.kill()
    server.wait(60)
    server, connection = started()
    time.sleep(3)
    for name in ("old", "young"):
        print(f"{name}: listed as there with", end=" ")
        print(connection.channel().queue_declare(name, passive=True).message_count, "messages")
        asked(f"{name}, consume", lambda channel: channel.basic_consume(name))
    server.kill()
    server.wait(60)
    server, connection = started()
    time.sleep(3)
    asked("young, consume after one more start", lambda channel: channel.basic_consume("young"))
    asked("young, delete", lambda channel: channel.queue_delete("young"))
    connection.channel().queue_declare("young", durable=True, auto_delete=False, arguments=QUORUM)
    asked("young, consume when made anew", lambda channel: channel.basic_consume("young"))
finally:
    server.stdin.close()
    server.wait(60)
    epmd.terminate()
    epmd.wait()
PROGRAM
seen=$("$work/venv/bin/python" "$work/program.py" "$work" "$servers")
expected=$(cat <<'EXPECTED'
old: listed as there with 0 messages
old, consume: answered
young: listed as there with 0 messages
young, consume: no answer in 20 s
young, consume after one more start: no answer in 20 s
young, delete: answered
young, consume when made anew: answered
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
