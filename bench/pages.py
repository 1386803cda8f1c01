"""The parts of documentation that a run of the benchmark writes anew."""

from __future__ import annotations

from pathlib import Path


def write_part(page: Path, name: str, text: str) -> None:
    """Put a text in the place of what stands between the two marks of that name.

    Raises `ValueError` where the page has none.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = page.read_text().partition(begin)
    _, _, after = rest.partition(end)
    if not after:
        raise ValueError(f"{page} has no {begin} with an {end} after it")
    page.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")
