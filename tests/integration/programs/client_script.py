"""A script with a client, in a process of its own; settings come from the environment.

client_script.py sends      sends a hundred events and ends without closing anything
client_script.py holds      says each event of `talk`, and asks for the next one when told to
"""

from __future__ import annotations

import json
import sys

from miros_mesh import MeshClient, MeshConfig, Message

ROLE = sys.argv[1]

config = MeshConfig.from_env().overridden(node_name="script")
client = MeshClient(config, "audit")
client.start()
if ROLE == "sends":
    for number in range(100):
        client.send(Message("said", number), routing_key="talk")
else:
    events = client.events("talk")
    print(json.dumps({"said": "ready"}), flush=True)
    for event in events:
        assert event.received
        line = {"payload": event.payload, "redelivered": event.received.redelivered}
        print(json.dumps(line), flush=True)
        sys.stdin.readline()
