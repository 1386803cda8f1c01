"""A file of lines `NAME=value`, as the ancestor's programs have it: `.env`.

Strict, so that a shell and other programs read every line that is taken here as it is read here.
No sentence quotes what a line holds: it may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from miros_mesh.config.environment import FOREIGN_NAMES, Found, read_environment, secret_variables
from miros_mesh.systems import exposure

_LINE: Final = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_]\w*)=(?P<value>.*)", re.ASCII)
# Without quotes: what means nothing to any shell.
_PLAIN: Final = re.compile(r"[^\s'\"#$`\\&|;<>()*?\[\]!~{}]*")
_QUOTED: Final = re.compile(r"'(?P<single>[^']*)'|\"(?P<double>[^\"$`\\]*)\"")


def read(file: Any, defaults: Mapping[str, Any], overridden: Collection[str]) -> Found:
    """Look in `file` for every setting but the overridden, as `read_environment` does.

    Problems and variables say the line. Raises nothing: problems are in what is returned.
    """
    if not isinstance(file, (str, Path)):
        return Found(problems=[f"env_file must be a path, not of type {type(file).__name__}"])
    file = Path(file)
    try:
        exposed, content = exposure(file), file.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "no path"
        return Found(problems=[f"{file} cannot be read: {reason}"])
    values, lines, problems = _parsed(content)
    found = read_environment(values, defaults, overridden)
    problems += [
        f"line {lines[name]}: {name} counts only in the environment of the process"
        for name in sorted(FOREIGN_NAMES & values.keys())
    ]
    if exposed and not secret_variables().isdisjoint(values):
        problems.append(f"it holds a secret, and {exposed}")
    found.problems = [f"{file}: {each}" for each in problems] + [
        _placed(each, file, lines) for each in found.problems
    ]
    found.variables = {
        setting: _placed(name, file, lines)
        for setting, name in found.variables.items()
        if name in lines
    }
    return found


def _parsed(content: bytes) -> tuple[dict[str, str], dict[str, int], list[str]]:
    """Return the values, the line of each, and what is wrong."""
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    problems: list[str] = []
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return values, lines, ["it is no UTF-8"]
    for number, line in enumerate(text.split("\n"), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        name, value, problem = _read_line(stripped)
        if not problem and name in lines:
            problem = f"has {name} again, after line {lines[name]}"
        if problem:
            problems.append(f"line {number} {problem}")
            continue
        values[name], lines[name] = value, number
    return values, lines, problems


def _read_line(line: str) -> tuple[str, str, str]:
    """Return name, value, and what is wrong, which is mostly nothing."""
    parts = _LINE.fullmatch(line)
    if parts is None:
        return "", "", "is not NAME=value, without white space around the ="
    name, value = parts["name"], parts["value"]
    if _PLAIN.fullmatch(value):
        return name, value, ""
    quoted = _QUOTED.fullmatch(value)
    if quoted is None:
        return name, "", f"has a value of {name} that needs single quotes around the whole of it"
    return name, quoted["single"] or quoted["double"] or "", ""


def _placed(text: str, file: Path, lines: Mapping[str, int]) -> str:
    """Say behind the first of the file's variables where it is."""
    for word in re.findall(r"\w+", text):
        if word in lines:
            return text.replace(word, f"{word} (line {lines[word]} of {file})", 1)
    return text
