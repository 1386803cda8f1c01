"""A process that forks again and again while its threads are busy in the embedded broker.

forking_often.py FOLDER TIMES      each child opens the broker too; prints how many came to an end
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from miros_mesh.embedded.schema import open_file

CHILD_LIMIT_S = 10
BUSY = 3


def work(folder: Path, ending: threading.Event) -> None:
    """Read and write until told to end."""
    database = open_file(folder)
    while not ending.is_set():
        database.read("SELECT count(*) FROM queues")
        with database.write() as run:
            run.execute("UPDATE queues SET id = id")
    database.close()


def child_ends(folder: Path) -> bool:
    """Whether a child that opens the broker comes to an end."""
    child = os.fork()
    if not child:
        signal.alarm(CHILD_LIMIT_S)
        open_file(folder).read("SELECT count(*) FROM queues")
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def main(folder: Path, times: int) -> int:
    """How many children came to an end."""
    ending = threading.Event()
    threads = [threading.Thread(target=work, args=(folder, ending)) for _ in range(BUSY)]
    for thread in threads:
        thread.start()
    ended = sum(child_ends(folder) for _ in range(times))
    ending.set()
    for thread in threads:
        thread.join()
    return ended


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), int(sys.argv[2])))
