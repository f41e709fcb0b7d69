"""What --fail-on asks for."""

import pytest

from chatloom_async.cli.options import reached


@pytest.mark.parametrize("level", ["gap", "low", "medium", "high", "new-finding"])
def test_a_gap_counts_at_every_level(level: str) -> None:
    assert reached([level], [], gap=True)


@pytest.mark.parametrize(
    ("levels", "counting"),
    [
        ("gap", ""),
        ("high", "high"),
        ("medium", "high medium"),
        ("low", "high medium low"),
        ("new-finding", "high medium low"),
        ("high medium", "high medium"),
        ("gap low", "high medium low"),
    ],
)
def test_a_level_counts_what_is_as_grave(levels: str, counting: str) -> None:
    severities = ["high", "medium", "low"]
    found = [each for each in severities if reached(levels.split(), [each], gap=False)]
    assert found == counting.split()
