"""A process that looks for inputs of one kind which the library does not stand.

Started by `make fuzz`, with the kind, a scratch folder, and the arguments of libFuzzer, which ends
the process: with 0, or at the first fault with another number.
"""

from __future__ import annotations

import logging
import resource
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["miros_mesh"]):
    from fuzz.readers import Readers

# Of address space: an input must not make the library ask for more.
MOST_BYTES = 2 * 1024**3


def main(kind: str, folder: str, *arguments: str) -> None:
    """Search until libFuzzer ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    # Refused files are logged, a line each.
    logging.disable(logging.CRITICAL)
    readers = Readers(Path(folder))

    def read(data: bytes) -> None:
        readers.read(kind, data)

    atheris.Setup([sys.argv[0], *arguments], read)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
