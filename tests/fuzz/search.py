"""A process that looks for inputs of one kind which the library does not stand.

Started by `make fuzz`, with the kind, a scratch folder, and the arguments of libFuzzer, which ends
the process: with 0, or at the first fault with another number.
"""

from __future__ import annotations

import logging
import mmap
import resource
import sys
from pathlib import Path
from random import Random

import atheris

with atheris.instrument_imports(include=["miros_mesh"]):
    from fuzz.readers import Readers

from fuzz.__main__ import TAKEN
from fuzz.mutations import CHANGES, changed

# Of address space: an input must not make the library ask for more.
MOST_BYTES = 2 * 1024**3

# Of so many inputs that are made, one has a value changed and not some bytes.
VALUE_EVERY = 8


def counter(folder: Path) -> mmap.mmap:
    """Return the bytes of that file, which stay when libFuzzer ends the process."""
    with (folder / TAKEN).open("wb+") as file:
        file.write(bytes(8))
        file.flush()
        return mmap.mmap(file.fileno(), 8)


def main(kind: str, folder: str, *arguments: str) -> None:
    """Search until libFuzzer ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_BYTES, MOST_BYTES))
    # Refused files are logged, a line each.
    logging.disable(logging.CRITICAL)
    readers = Readers(Path(folder))

    taken, told = 0, counter(Path(folder))

    def read(data: bytes) -> None:
        nonlocal taken
        if readers.read(kind, data):
            taken += 1
            told[:] = taken.to_bytes(len(told), "big")

    def mutated(data: bytes, most_bytes: int, seed: int) -> bytes:
        # Mostly by libFuzzer's own means, which are much faster.
        other = None if seed % VALUE_EVERY else changed(kind, data, Random(seed))
        if other is None or len(other) > most_bytes:
            return bytes(atheris.Mutate(data, most_bytes))
        return other

    own = {"custom_mutator": mutated} if kind in CHANGES else {}
    atheris.Setup([sys.argv[0], *arguments], read, **own)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
