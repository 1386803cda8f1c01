"""`make fuzz`: bytes that no one has thought of, for all that reads what comes from outside."""

from __future__ import annotations

import argparse
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from fuzz.readers import Readers
from fuzz.seeds import seeds

TAKEN = "taken"
"""The file in which a search tells how many inputs the library has taken."""
FOLDER = Path(".build/fuzz")
INTERRUPTED = 130
LONGEST_INPUT_BYTES = 8192
# On the wall, since an input for which the library waits uses no processor.
HANG_S = 30
MOST_MEMORY_MIB = 1024
LAST_LINES = 25
DESCRIPTION = """\
Gives random bytes to everything in miros_mesh that reads what comes from outside: frames, what is
sealed in them, payloads, URLs, settings, files. Atheris (libFuzzer) keeps each input that reaches
new code, and makes further ones of it.
"""
EPILOGUE = f"""\
A fault is an error that the library does not document, an input for which it works longer than a
second, and memory above {MOST_MEMORY_MIB} MiB. The search of that kind ends there and the input is
kept; read it again with --target KIND --input FILE. Exit status: 0 without a fault, 1 with one, 130
after Ctrl-C.
"""


@dataclass(frozen=True)
class Outcome:
    """What the search for one kind of input has done; None where libFuzzer did not say."""

    kind: str
    inputs: int | None
    taken: int
    """Of the inputs those that the library took for what they were to be; it refused the others."""
    corpus: int | None
    per_s: int | None
    memory_mib: int | None
    reproducer: str | None
    ended: int

    @property
    def failed(self) -> bool:
        """Whether there was a fault, or no search at all."""
        return self.ended != 0 or not self.inputs


def outcome_of(kind: str, ended: int, said: str, taken: int = 0) -> Outcome:
    """Read what libFuzzer has said until it ended."""

    def last(pattern: str) -> str | None:
        found = re.findall(pattern, said)
        return found[-1] if found else None

    def number(pattern: str) -> int | None:
        return int(found) if (found := last(pattern)) else None

    return Outcome(
        kind,
        number(r"stat::number_of_executed_units: +(\d+)"),
        taken,
        number(r"corp: (\d+)"),
        number(r"stat::average_exec_per_sec: +(\d+)"),
        number(r"stat::peak_rss_mb: +(\d+)"),
        last(r"Test unit written to (\S+)"),
        ended,
    )


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a row for each kind, and one for all."""
    rows = [
        "| kind | inputs | taken | a second | corpus | memory, MiB | faults |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for each in outcomes:
        numbers = (
            *(each.inputs, each.taken, each.per_s, each.corpus, each.memory_mib),
            int(each.failed),
        )
        cells = " | ".join("-" if number is None else f"{number:,}" for number in numbers)
        rows.append(f"| {each.kind} | {cells} |")
    inputs = sum(each.inputs or 0 for each in outcomes)
    taken = sum(each.taken for each in outcomes)
    corpus = sum(each.corpus or 0 for each in outcomes)
    faults = sum(each.failed for each in outcomes)
    rows.append(f"| all of them | {inputs:,} | {taken:,} | | {corpus:,} | | {faults} |")
    return "\n".join(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Search, kind by kind, and print; 1 for a fault."""
    all_seeds = seeds()
    parser = _parser(list(all_seeds))
    options = parser.parse_args(arguments)
    if options.input and len(options.target or ()) != 1:
        parser.error("--input FILE needs the one --target whose input it is")
    kinds = options.target or list(all_seeds)
    with tempfile.TemporaryDirectory(prefix="mesh-fuzz-") as scratch:
        if options.input:
            Readers(Path(scratch)).read(kinds[0], options.input.read_bytes())
            _say("it is read as documented")
            return 0
        _say(f"seed {options.seed}, {options.seconds} s a kind, {_machine()}")
        outcomes = []
        try:
            for kind in kinds:
                outcomes.append(_search(kind, all_seeds[kind], Path(scratch), options))
                _say(table(outcomes[-1:]).splitlines()[-2])
        except KeyboardInterrupt:
            return INTERRUPTED
        finally:
            _say(f"\n{table(outcomes)}\n")
    for each in outcomes:
        if each.failed:
            _say(f"{each.kind}: ended with {each.ended}; the input: {each.reproducer}")
    return int(any(each.failed for each in outcomes))


def _search(
    kind: str, begin_with: Sequence[bytes], scratch: Path, options: argparse.Namespace
) -> Outcome:
    corpus, faults = options.corpus / kind, options.corpus / f"{kind}-faults"
    for folder in (corpus, faults):
        folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(begin_with):
        (corpus / f"seed-{number}").write_bytes(seed)
    command = [
        *(sys.executable, "-m", "fuzz.search", kind, str(scratch), str(corpus)),
        f"-max_total_time={options.seconds}",
        f"-seed={options.seed}",
        f"-max_len={LONGEST_INPUT_BYTES}",
        f"-timeout={HANG_S}",
        f"-rss_limit_mb={MOST_MEMORY_MIB}",
        f"-artifact_prefix={faults}/",
        "-print_final_stats=1",
    ]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    said = ran.stdout.decode(errors="replace")
    taken = int.from_bytes((scratch / TAKEN).read_bytes(), "big")
    outcome = outcome_of(kind, ran.returncode, said, taken)
    if outcome.failed:
        _say("\n".join(said.splitlines()[-LAST_LINES:]))
    return outcome


def _machine() -> str:
    cores = len(os.sched_getaffinity(0))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{cores} cores, Linux {platform.machine()}, {python}, atheris {version('atheris')}"


def _say(what: str) -> None:
    print(what, flush=True)


def _parser(kinds: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make fuzz",
        description=DESCRIPTION,
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each kind of input (60)")
    parser.add_argument(
        "--target", action="append", choices=kinds, help="only this kind; repeatable (all)"
    )
    parser.add_argument(
        "--seed",
        type=int,
        # 0 would let libFuzzer take one that is not told.
        default=random.SystemRandom().randrange(1, 10_000),
        help="of the random numbers; printed at the start (random)",
    )
    parser.add_argument(
        "--corpus", type=Path, default=FOLDER, help=f"where inputs are kept ({FOLDER})"
    )
    parser.add_argument(
        "--input", type=Path, metavar="FILE", help="read this input only; needs no atheris"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
