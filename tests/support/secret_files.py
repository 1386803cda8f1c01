"""Files with secrets, as an administrator writes them."""

from __future__ import annotations

from pathlib import Path


def write_secret(file: Path, text: str) -> None:
    """Let the file hold it, whole at once, for its owner alone."""
    new = file.with_name(f"{file.name}.new")
    new.touch(0o600)
    new.write_text(text)
    new.replace(file)
