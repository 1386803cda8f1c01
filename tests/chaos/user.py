"""The user as whom all nodes of a mesh connect, and what may be done to it."""

from __future__ import annotations

from pathlib import Path

from support.rabbitmq_server import RabbitServer, erlang_string
from support.secret_files import write_secret

NAME = "mesh"
INTERNAL = "rabbit_auth_backend_internal"


class User:
    """Its nodes read its URL from a file. The methods return what lets the broker do it."""

    def __init__(self, server: RabbitServer, vhost: str, file: Path) -> None:
        self.file = file
        self._server = server
        self._vhost = vhost
        self._passwords = 0
        server.add_user(NAME, self._password)
        server.eval(self.may())
        self.write()

    def may(self, *, write: str = ".*", read: str = ".*") -> str:
        """It may do that in the virtual host."""
        words = ", ".join(map(erlang_string, (NAME, self._vhost, ".*", write, read, "chaos")))
        return f"ok = {INTERNAL}:set_permissions({words})"

    def may_write_under(self, exchange: str, topics: str) -> str:
        """It may publish under these topics alone."""
        words = (NAME, self._vhost, exchange, topics, ".*", "chaos")
        return f"ok = {INTERNAL}:set_topic_permissions({', '.join(map(erlang_string, words))})"

    def may_write_everywhere(self) -> str:
        """It may publish under each topic."""
        words = ", ".join(map(erlang_string, (NAME, self._vhost, "chaos")))
        return f"ok = {INTERNAL}:clear_topic_permissions({words})"

    def limited(self, limit: str, number: int) -> str:
        """It may have no more than that."""
        words = ", ".join(map(erlang_string, (NAME, f'{{"{limit}": {number}}}', "chaos")))
        return f"ok = {INTERNAL}:set_user_limits({words})"

    def unlimited(self, limit: str) -> str:
        """It may have as many as it likes."""
        words = ", ".join(map(erlang_string, (NAME, limit, "chaos")))
        return f"ok = {INTERNAL}:clear_user_limits({words})"

    def new_password(self) -> str:
        """It has another password from now on."""
        self._passwords += 1
        words = ", ".join(map(erlang_string, (NAME, self._password, "chaos")))
        return f"ok = {INTERNAL}:change_password({words})"

    def write(self) -> None:
        """Write the password of this moment to the file."""
        write_secret(self.file, self._server.url(self._vhost, NAME, self._password))

    @property
    def _password(self) -> str:
        return f"secret-{self._passwords}"
