"""Every block of code on the pages, and which test runs or reads it.

Whole programs of Python, which have a title, are those of `test_programs_in_docs.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.doc_pages import PAGES, ROOT

# What programs print, and drawings, are held by tests of their own.
_NO_CODE = {"text", "mermaid"}
_BLOCK = re.compile(r"^```(\w+)( title=[^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

HERE = "tests/integration/test_blocks_in_docs.py"
ALL_HOSTS = "tests/integration/test_all_hosts.py"
HARDENING = "tests/integration/test_hardening.py"
KUBERNETES = "tests/deploy/test_kubernetes.py"
PLAYBOOKS = "tests/deploy/test_ansible_hosts.py"
PRODUCTION = "tests/integration/test_production.py"
TESTED = {
    "deploy/README.md": {
        "BROKER_URL_FILE=/run": HERE,
        "sed 's/USER/press/'": HERE,
        "30-mesh-external.conf": ALL_HOSTS,
        "BROKER_CERT_FILE": ALL_HOSTS,
        "site=west": "tests/faults/test_federation.py",
        "federation_status": "tests/faults/test_federation.py",
    },
    "deploy/ansible/README.md": {
        "cp -r example": PLAYBOOKS,
        "mesh_brokers:": PLAYBOOKS,
        "ansible-vault encrypt": PLAYBOOKS,
        "check.yml": PLAYBOOKS,
        "ansible-vault edit": PLAYBOOKS,
    },
    "deploy/elk/README.md": {"curl": "tests/deploy/test_compose.py"},
    "deploy/kubernetes/README.md": {"kind: PrometheusRule": KUBERNETES},
    "docs/all-hosts.md": {
        "req -x509": ALL_HOSTS,
        "host=red": ALL_HOSTS,
        "rand -hex 24": ALL_HOSTS,
        # But for the two lines of it that fetch the package.
        "apt-get": ALL_HOSTS,
        "20-mesh-tls.conf": ALL_HOSTS,
        "add_user mesh": ALL_HOSTS,
        "-o peter": ALL_HOSTS,
        "RABBIT_TLS=on": ALL_HOSTS,
        "miros-mesh discover": ALL_HOSTS,
    },
    "docs/configuration.md": {
        "# The mesh of the house": HERE,
        "keygen --identity": HERE,
        "MIROS_MESH_NODE_IDENTITY_FILE": HERE,
        '"may_put_back"': HERE,
    },
    "docs/dead-letters.md": {"dead-letters list": HERE, "MIROS_MESH_NODE_NAME": HERE},
    "docs/discovery.md": {
        'folder="$PWD/$1"': HERE,
        "sh broker.sh red": HERE,
        "miros-mesh keygen": HERE,
        "RABBIT_PORT=5701": HERE,
        '"192.168.1.80:5673"': HERE,
        '"searches"': HERE,
    },
    "docs/getting-started.md": {"RABBIT_USER=peter": HERE, "rabbit.example.org": HERE},
    "docs/hardening.md": {
        "rabbitmqctl": HARDENING,
        "clientAuth": HARDENING,
        "30-mesh-external.conf": ALL_HOSTS,
        "-o peter": ALL_HOSTS,
    },
    "docs/keys.md": {"next.key": HERE},
    "docs/observability.md": {
        "miros-mesh snoop": HERE,
        "miros-mesh sequence": HERE,
        '"silent_s"': HERE,
        '"not ready"': HERE,
        '"@timestamp"': "tests/integration/test_elk.py",
        "livenessProbe": HERE,
        "scrape_configs": HERE,
    },
    "docs/production.md": {"curl": PRODUCTION, "MIROS_MESH_DRAIN_TIMEOUT_S": HERE},
    "docs/runbook.md": {
        "runbook_url": "tests/integration/test_prometheus.py",
        "miros-mesh check": PRODUCTION,
    },
    "docs/sizing.md": {"a.example": HERE},
    "docs/tutorial.md": {"": "tests/integration/test_tutorial.py"},
}
"""Of each page words that tell blocks, and the test that runs them or has them read."""

_RELEASE = "there is no release yet"
_CLUSTER = "wants a cluster of Kubernetes; test_kubernetes.py reads what it applies"
_FETCHES = "fetches packages from an index"
NOT_RUN = {
    "docs/runbook.md": {"delete_queue": "a queue without a leader cannot be made at will"},
    "SECURITY.md": {"gh attestation": _RELEASE, "git checkout v0.2.0": _RELEASE},
    "deploy/README.md": {
        "docker compose": "wants an engine for containers; test_compose.py reads the file",
        "# asks for the password": "asks for a password; that of all-hosts.md does not, and is run",
        "rabbitmq_federation": "wants a second site; test_federation.py enables the plugin",
        "promtool check": "does not end; test_prometheus.py runs both with these files",
    },
    "deploy/ansible/README.md": {
        "ansible-playbook site.yml": "test_ansible_hosts.py runs it, with settings of its hosts",
        "journalctl": "reads the journal, which its hosts have not",
        "miros-mesh keys": "test_ansible_hosts.py runs it on a host, by another way in",
        "ls -l /opt": "lists a folder",
    },
    "deploy/elk/README.md": {"sudo install": "wants Filebeat; test_elk.py runs rsyslog's file"},
    "deploy/kubernetes/README.md": {
        "kubectl apply --kustomize": _CLUSTER,
        "kubectl --namespace": _CLUSTER,
        "docker build": "wants an engine for containers; test_image.py reads the file",
    },
    "deploy/systemd/README.md": {"daemon-reload": f"{_FETCHES}; test_systemd.py runs the unit"},
    "docs/all-hosts.md": {
        "scp -p ca.pem": "carries files by ssh; so does the tutorial, which is run",
        "ufw": "sets up a firewall",
        "cache=": "copies a file by ssh",
    },
    "docs/discovery.md": {"docker run": "wants an engine for containers"},
    "docs/getting-started.md": {
        "pip install .\n": _FETCHES,
        "git checkout": "wants a commit of the reader's; other tests build the wheel",
        "apt-get": "asks for a password; that of all-hosts.md does not, and is run",
    },
    "docs/page.md": {"page --open": "opens a browser; test_page_command.py runs it without"},
    "docs/patterns.md": {"uvicorn": f"{_FETCHES}; test_web_example.py runs both programs"},
}
"""Of each page words that tell blocks, and why no test runs them."""

FRAGMENTS_NOT_RUN = {
    "with Network(": "wants namespaces and a RabbitMQ; test_namespaces.py makes each of the calls",
    'client.events(["orders.#"': "has no end; test_clients.py reads such a stream",
    '"""Doors as a service': "test_production.py runs the file that it is",
}
"""Words of the parts of Python programs that are compiled and not run, and why."""


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    page: str
    language: str
    text: str

    @property
    def is_make(self) -> bool:
        """Whether it has nothing but calls of make."""
        lines = [line for line in self.text.splitlines() if line.strip()]
        return self.language == "sh" and all(line.startswith("make ") for line in lines)


def blocks() -> list[Block]:
    """Every block of code, but those of Python."""
    return [
        Block(str(page.relative_to(ROOT)), found[1], found[3])
        for page in PAGES
        for found in _BLOCK.finditer(page.read_text())
        if found[1] not in _NO_CODE | {"python"}
    ]
