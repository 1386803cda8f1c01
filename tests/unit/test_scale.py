"""What `make bench ARGS=scale` says of how figures grow, and what it takes for wrong."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from miros_mesh import MeshConfig

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from brokers import Measured
from measure import MeasureError
from scale import units
from scale.actors import Book
from scale.axes import Axis, Take, walk
from scale.command import main, write_docs
from scale.growth import Metric, Point, growing_linearly, growth
from scale.tables import figures, series, table

COST = Metric("cost", "cost", units.SECONDS, plotted=True)
RATE = Metric("rate", "rate", units.NUMBER, good=True)
COUNTS = (1, 10, 100, 1_000)
BROKERS = [Measured(title, "", MeshConfig()) for title in ("embedded", "RabbitMQ")]


@pytest.mark.parametrize(
    ("power", "word"),
    [
        (0.0, "flat"),
        (0.5, "less than linear"),
        (1.0, "linear"),
        (2.0, "worse than linear"),
        (-1.0, "falls"),
    ],
)
def test_a_cost_that_grows_as_a_power_is_told_as_that(power: float, word: str) -> None:
    grown = growth({count: 3 * count**power for count in COUNTS}, COST)
    assert grown is not None
    assert grown.exponent == pytest.approx(power)
    assert grown.at_end == pytest.approx(power)
    assert grown.word == word


def test_a_rate_that_grows_rises() -> None:
    grown = growth({count: float(count) for count in COUNTS}, RATE)
    assert grown is not None
    assert grown.word == "rises"


def test_what_is_constant_hides_no_growth_of_the_largest() -> None:
    grown = growth(
        {count: 1_000 + count**2 / 1_000 for count in (1, 10, 1_000, 3_000, 10_000)}, COST
    )
    assert grown is not None
    assert grown.exponent < 1
    assert grown.word == "worse than linear"


@pytest.mark.parametrize("values", [{1: 1.0, 2: 2.0}, {1: 0.0, 2: 1.0, 3: 2.0}])
def test_too_few_points_or_a_zero_say_nothing_of_growth(values: dict[int, float]) -> None:
    assert growth(values, COST) is None


def test_a_line_that_grows_linearly_goes_no_further_than_the_others() -> None:
    assert growing_linearly([[(1, 2.0), (100, 20.0)], [(1, 3.0), (100, 10.0)]]) == [
        (1, 2.0),
        (10, 20.0),
    ]
    assert growing_linearly([[(1, 2.0), (100, 1.0)]]) == []


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (["--counts", "1,x"], "'1,x' is no list like 1,100,1000"),
        (["--only", "planets"], "planets is none of charts"),
    ],
)
def test_a_list_without_a_meaning_is_refused(
    option: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(option)
    assert f"argument {option[0]}: {said}" in capsys.readouterr().err


def test_a_quick_run_is_not_written_into_the_docs(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--quick", "--write-docs"])
    assert ended.value.code == 2
    assert "--write-docs takes a whole run" in capsys.readouterr().err


def test_points_take_turns_and_a_failed_one_leaves_the_others_their_rounds() -> None:
    taken: list[tuple[str, int]] = []

    def take(broker: Measured, count: int) -> Point:
        taken.append((broker.title, count))
        if (broker.title, count) == ("RabbitMQ", 10):
            raise MeasureError("3 of 4 events were handled")
        return {"cost": float(count), "rate": 1.0}

    walked = walk(_axis(take), BROKERS, (1, 10), rounds=2)

    turns = [("embedded", 1), ("RabbitMQ", 1), ("embedded", 10), ("RabbitMQ", 10)]
    assert taken == [*turns, *turns[:3]]
    assert walked.failures == ["RabbitMQ, example 10: 3 of 4 events were handled"]
    written = figures(walked)
    assert written["brokers"]["embedded"]["cost"]["rounds"] == {1: [1.0, 1.0], 10: [10.0, 10.0]}
    assert written["brokers"]["RabbitMQ"]["cost"]["median"] == {1: 1.0}
    assert table(walked).splitlines()[-1].split()[:3] == ["rate", "1", "-"]


def test_no_round_begins_that_would_end_after_the_limit() -> None:
    walked = walk(_axis(lambda *_: {"cost": 1.0, "rate": 1.0}, limit_s=0.0), BROKERS, (1,), 5)
    assert walked.rounds == 1


def test_a_row_has_the_medians_and_how_they_grow() -> None:
    walked = walk(_axis(lambda _, count: {"cost": count / 10}), BROKERS[:1], COUNTS, rounds=1)
    head, broker, row = table(walked).splitlines()
    assert head.split() == [
        "things",
        "1",
        "10",
        "100",
        "1,000",
        "power",
        "at",
        "the",
        "end",
        "grows",
    ]
    assert broker == "embedded"
    assert row.split()[1::2][:4] == ["0.10", "1.00", "10.00", "100.00"]
    assert row.endswith("+1.00       +1.00  linear")
    assert series(walked, COST) == {
        "embedded": [(1.0, 0.1), (10.0, 1.0), (100.0, 10.0), (1e3, 100.0)]
    }


def test_the_documentation_gets_the_table_and_the_plots(tmp_path: Path) -> None:
    page, mark = tmp_path / "benchmarks.md", "<!-- scale example: {} -->"
    (tmp_path / "images").mkdir()
    page.write_text(f"before\n{mark.format('begin')}\nold\n{mark.format('end')}\nafter\n")
    walked = walk(_axis(lambda _, count: {"cost": count / 10}), BROKERS, COUNTS, rounds=1)
    for _ in range(2):
        write_docs(tmp_path, "2 cores", [walked])
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith(f"{mark.format('end')}\nafter\n")
    assert "old" not in text
    assert text.count("things  ") == 1
    assert "2 cores. One round." in text
    assert "![cost](images/scale-example-cost.svg)" in text
    assert (tmp_path / "images" / "scale-example-cost.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("numbers", "wrong"),
    [
        ([1], "1 of 2 events were handled"),
        ([2, 1], "of 0 came 2 after 0"),
        ([1, 2, 2], "of 0 came 2 after 2"),
        ([1, 2, 3], "3 of 2 events were handled"),
    ],
)
def test_what_is_missing_doubled_or_out_of_order_gives_no_figure(
    numbers: list[int], wrong: str
) -> None:
    book = Book(senders=1, events=2)
    for number in numbers:
        book.count([0, number, time.monotonic_ns(), ""])
    with pytest.raises(MeasureError, match=wrong):
        book.check()


def test_each_sender_has_numbers_of_its_own() -> None:
    book = Book(senders=2, events=2)
    for sender, number in ((0, 1), (1, 1), (1, 2), (0, 2)):
        book.count([sender, number, time.monotonic_ns(), ""])
    book.check()


def _axis(take: Take, limit_s: float = 60.0) -> Axis:
    @contextmanager
    def opened(_: tuple[int, ...]) -> Iterator[Take]:
        yield take

    return Axis("example", "things", COUNTS, (), (COST, RATE), limit_s, opened)


@pytest.mark.parametrize("option", ["--runs=0", "--runs=-1", "--counts=0", "--counts=1,-3"])
def test_numbers_that_measure_nothing_are_refused(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([option])
    assert "from 1 to" in capsys.readouterr().err
