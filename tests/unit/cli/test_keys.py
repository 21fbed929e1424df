"""What `visualsearch keys` refuses before it asks Postgres."""

import pytest
from typer.testing import CliRunner

from cli.main import app
from visualsearch.domain.errors import InvalidInput


@pytest.mark.parametrize(
    "words",
    [
        ["create", "ada", "--scope", "king"],
        ["create", " ", "--scope", "search"],
        ["create", "a" * 200, "--scope", "search"],
        ["create", "ada", "--scope", "search", "--note", "x" * 501],
        *(
            ["create", "ada", "--scope", "search", "--expires-in", time]
            for time in ("soon", "1y", "0s", "99999d", "-1h")
        ),
        ["rotate", "0" * 12, "--overlap", "1"],
    ],
)
def test_a_key_that_fits_nothing_is_refused(words):
    assert isinstance(CliRunner().invoke(app, ["keys", *words]).exception, InvalidInput)


def test_a_key_without_a_scope_is_refused():
    assert CliRunner().invoke(app, ["keys", "create", "ada"]).exit_code == 2
