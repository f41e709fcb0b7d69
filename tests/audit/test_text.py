"""Text fit for people, terminals and spreadsheets."""

import pytest

from chatloom_async.audit.text import duration, spreadsheet


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (12.4, "12 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        *((f"{sign}1", f"'{sign}1") for sign in "=+-@\uff1d\uff0b\uff0d\uff20"),
        (" =1+1", "' =1+1"),
        ("\n=1+1", "\\n=1+1"),
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\u202egnp", "\\u202egnp"),
        ("Bot; \u00a0@x", "Bot;' \u00a0@x"),
        ('Bot";=1', "Bot\";'=1"),
        ("Bot,-1", "Bot,'-1"),
        ("Bot\t=1", "Bot\\t=1"),
        ("Sales; Support = fun", "Sales; Support = fun"),
        ("Beta & Söhne", "Beta & Söhne"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_cell_gives_no_orders_to_a_spreadsheet(name: str, cell: str) -> None:
    assert spreadsheet(name) == cell
