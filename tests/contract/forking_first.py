"""A process that forks while a thread of it is inside of SQLite for the first time.

forking_first.py                   ends with 0 if the fork waited for the thread
"""

from __future__ import annotations

import os
import sys
import threading

from miros_mesh.forks import inside_sqlite

# Far less than a fork waits.
INSIDE_S = 0.1

inside, forking, left = threading.Event(), threading.Event(), threading.Event()


def work() -> None:
    """Be inside until the fork has begun, and for a while longer."""
    with inside_sqlite():
        inside.set()
        forking.wait()
        threading.Event().wait(INSIDE_S)
        left.set()


def main() -> int:
    """Whether the fork came while the thread was inside."""
    # What is registered last is called first.
    os.register_at_fork(before=forking.set)
    thread = threading.Thread(target=work)
    thread.start()
    inside.wait()
    child = os.fork()
    if not child:
        os._exit(not left.is_set())
    thread.join()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    sys.exit(main())
