"""A warning for a program whose settings leave the broker of its environment aside."""

from __future__ import annotations

import os
from functools import cache

from miros_mesh.config.environment import broker_variables
from miros_mesh.config.settings import MeshConfig
from miros_mesh.text import logger_of

logger = logger_of(__name__)


def warn_of_unread_broker(config: MeshConfig) -> None:
    """Warn, once a process, of an embedded broker where the environment names another one.

    `MeshConfig(...)` reads no variables. A folder or a link of the program's own says that it means
    what it does.
    """
    if config.mode == "embedded" and config.home is None and config.link_factory is None:
        unread = broker_variables(os.environ)
        if unread:
            _warn(unread)


# Once for the same variables, however many nodes start. Names only: the values hold passwords.
@cache
def _warn(variables: tuple[str, ...]) -> None:
    logger.warning(
        "%s set, and the settings of this program do not read it: it uses the embedded broker of "
        "this machine. Make them with MeshConfig.from_env(...) in place of MeshConfig(...); or "
        "give home=, if the embedded broker is meant",
        f"{', '.join(variables)} {'are' if len(variables) > 1 else 'is'}",
    )
