"""The configuration page matches the settings."""

from cli.settings_reference import FILE, reference
from visualsearch.settings import Settings


def test_the_page_is_current():
    assert FILE.read_text() == reference(), "run `python -m cli.settings_reference`"


def test_every_setting_is_described():
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_no_default_of_this_machine_gets_into_the_page(monkeypatch, tmp_path):
    monkeypatch.setenv("VISUALSEARCH_HOME", str(tmp_path))
    monkeypatch.setenv("VISUALSEARCH_GATEWAY_PORT", "9999")
    assert str(tmp_path) not in reference()
    assert "9999" not in reference()
