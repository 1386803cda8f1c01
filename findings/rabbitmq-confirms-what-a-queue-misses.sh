#!/usr/bin/env bash
# RabbitMQ 3.10.8, a cluster of two: while the server is down that has a durable classic queue, the
# other one takes a persistent message for it, and *confirms* it. Nothing is stored anywhere: when
# the server is back, the queue has what it held before and not this message. With `mandatory` it is
# returned first, as if there were no such queue; yet to declare the queue is refused, since there
# is one (404, "home node ... is down or inaccessible"). So of "durable, persistent, confirmed" a
# cluster keeps nothing for as long as one server is down, and says so to nobody who did not ask.
#
# Needs rabbitmq-server with epmd and erl. Runs pika==1.3.2 and two servers in a temporary folder, on
# loopback alone, without this project; fails if the behaviour has changed.
set -euo pipefail

work=$(mktemp -d)
servers=$(dirname "$(readlink -f "$(command -v rabbitmq-server || echo /usr/sbin/rabbitmq-server)")")
[ -d /usr/lib/rabbitmq/bin ] && servers=/usr/lib/rabbitmq/bin
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pika==1.3.2 2>/dev/null

cat >"$work/program.py" <<'PROGRAM'
import os
import random
import signal
import socket
import subprocess
import sys
import time

import pika

work, servers = sys.argv[1:]


def free_port():
    # Below the range of outgoing connections, so that a server that starts again finds it free.
    while True:
        port = random.randrange(20_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


epmd_port = free_port()
names = ("a", "b")
ports = {name: free_port() for name in names}
dist = {name: free_port() for name in names}
env = {}
for name in names:
    folder = f"{work}/{name}"
    os.makedirs(folder)
    nodes = "".join(
        f"cluster_formation.classic_config.nodes.{n} = {each}@localhost\n"
        for n, each in enumerate(names, 1)
    )
    with open(f"{folder}/rabbitmq.conf", "w") as conf:
        conf.write(
            f"listeners.tcp.default = 127.0.0.1:{ports[name]}\n"
            "disk_free_limit.absolute = 1MB\n"
            "cluster_formation.peer_discovery_backend = classic_config\n" + nodes
        )
    with open(f"{folder}/plugins", "w") as plugins:
        plugins.write("[].\n")
    env[name] = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))},
        "HOME": work,
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": f"{name}@localhost",
        "RABBITMQ_DIST_PORT": str(dist[name]),
        "RABBITMQ_MNESIA_BASE": f"{folder}/mnesia",
        "RABBITMQ_LOG_BASE": f"{folder}/log",
        "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
        "RABBITMQ_CONF_ENV_FILE": f"{folder}/none",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        # With input allowed the server ends with its input, and so with this program.
        "RABBITMQ_ALLOW_INPUT": "1",
    }
with open(f"{work}/.erlang.cookie", "w") as cookie:
    cookie.write("FINDING")
os.chmod(f"{work}/.erlang.cookie", 0o400)


def start(name):
    return subprocess.Popen(
        [f"{servers}/rabbitmq-server"],
        env=env[name],
        stdin=subprocess.PIPE,
        stdout=open(f"{work}/{name}/output", "ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def connection(name):
    end = time.monotonic() + 180
    while True:
        try:
            return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", ports[name]))
        except pika.exceptions.AMQPError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)


def publish(channel, body, mandatory=False):
    try:
        channel.basic_publish(
            "", "kept", body, pika.BasicProperties(delivery_mode=2), mandatory=mandatory
        )
    except pika.exceptions.UnroutableError:
        return "returned"
    except pika.exceptions.NackError:
        return "nacked"
    return "confirmed"


epmd = subprocess.Popen(["epmd", "-port", str(epmd_port), "-address", "127.0.0.1"])
running = {}
try:
    running["a"] = start("a")
    connection("a").close()
    running["b"] = start("b")
    at_b = connection("b").channel()
    at_b.queue_declare("kept", durable=True, arguments={"x-queue-type": "classic"})
    at_b.confirm_delivery()
    print("both servers up:", publish(at_b, b"one"))

    os.killpg(running["b"].pid, signal.SIGKILL)
    running["b"].wait()
    time.sleep(2)
    other = connection("a")
    at_a = other.channel()
    at_a.confirm_delivery()
    print("its server down:", publish(at_a, b"two"))
    print("its server down, mandatory:", publish(at_a, b"three", mandatory=True))
    try:
        other.channel().queue_declare("kept", durable=True, arguments={"x-queue-type": "classic"})
    except pika.exceptions.ChannelClosedByBroker as error:
        print("to declare it:", error.reply_code, error.reply_text.partition(" '")[0])
    other.close()

    running["b"] = start("b")
    channel = connection("b").channel()
    bodies = []
    while (got := channel.basic_get("kept", auto_ack=True))[0]:
        bodies.append(got[2].decode())
    print("its server up again:", *bodies)
finally:
    for server in running.values():
        server.stdin.close()
        try:
            server.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
    epmd.terminate()
    epmd.wait()
PROGRAM
trap 'rm -rf "$work"' EXIT
seen=$("$work/venv/bin/python" "$work/program.py" "$work" "$servers")
expected=$(cat <<'EXPECTED'
both servers up: confirmed
its server down: confirmed
its server down, mandatory: returned
to declare it: 404 NOT_FOUND - home node
its server up again: one
EXPECTED
)

echo "$seen"
if [[ "$seen" != "$expected" ]]; then
    echo "changed; it was:" >&2
    echo "$expected" >&2
    exit 1
fi
