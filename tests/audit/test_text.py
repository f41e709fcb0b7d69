"""Text fit for people, terminals and spreadsheets."""

from chatloom_async.audit.text import duration, spreadsheet


def test_a_time_is_said_as_people_say_it() -> None:
    said = [duration(seconds) for seconds in (9.94, 12.4, 59.6, 7800)]
    assert said == ["9.9 s", "12 s", "1 min 00 s", "2 h 10 min"]


CELLS = {
    **{f"{sign}1": f"'{sign}1" for sign in "=+-@\uff1d\uff0b\uff0d\uff20"},
    " =1+1": "' =1+1",
    "\n=1+1": "\\n=1+1",
    "\x1b]0;owned\x07": "\\x1b]0;owned\\x07",
    "\u202egnp": "\\u202egnp",
    "Bot; \u00a0@x": "Bot;' \u00a0@x",
    'Bot";=1': "Bot\";'=1",
    "Bot,-1": "Bot,'-1",
    "Bot\t=1": "Bot\\t=1",
    "Sales; Support = fun": "Sales; Support = fun",
    "\ud800": "\\ud800",
}


def test_a_cell_gives_no_orders_to_a_spreadsheet() -> None:
    assert {name: spreadsheet(name) for name in CELLS} == CELLS
