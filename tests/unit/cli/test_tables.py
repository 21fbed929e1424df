"""Tables show texts from outside as they are, harmlessly."""

from datetime import UTC, datetime
from io import StringIO

from rich.console import Console

from cli.console import printable
from cli.tables import dead_letters_table
from visualsearch.domain.indexing import DeadLetter, Event, EventKind


def test_a_reason_with_brackets_and_escapes_is_shown_as_it_is():
    event = Event(EventKind.CREATED, "s3://images/a[/b].jpg")
    letter = DeadLetter("1-0", event, "no [/such] key\x1b[31m", 5, datetime.now(UTC))
    console = Console(file=StringIO(), width=200)
    console.print(dead_letters_table([letter]))
    assert "a[/b].jpg" in console.file.getvalue()
    assert "no [/such] key\\x1b[31m" in console.file.getvalue()


def test_a_printable_text_has_no_control_characters_and_no_lone_surrogates():
    assert printable("é 日本 a\n\x1b[0m\u202e\udcff") == "é 日本 a\\n\\x1b[0m\\u202e\\xff"
