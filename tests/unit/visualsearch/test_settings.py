"""The sources of settings and their precedence."""

import pytest

from visualsearch.domain.errors import ConfigurationError
from visualsearch.settings import Settings


@pytest.fixture(autouse=True)
def no_stack(tmp_path, monkeypatch):
    monkeypatch.setenv("VISUALSEARCH_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VISUALSEARCH_SECRETS_DIR", raising=False)


def test_a_folder_of_secrets_is_read_one_file_a_setting(tmp_path, monkeypatch):
    (tmp_path / "visualsearch_postgres_password").write_text("sesame\n")
    (tmp_path / "somebody_elses").write_text("x")
    monkeypatch.setenv("VISUALSEARCH_SECRETS_DIR", str(tmp_path))
    settings = Settings.load()
    assert settings.postgres_password.get_secret_value() == "sesame"
    assert "sesame" not in repr(settings)


def test_the_environment_comes_before_the_files(tmp_path, monkeypatch):
    (tmp_path / "visualsearch_s3_bucket").write_text("from-a-file")
    monkeypatch.setenv("VISUALSEARCH_SECRETS_DIR", str(tmp_path))
    assert Settings.load().s3_bucket == "from-a-file"
    monkeypatch.setenv("VISUALSEARCH_S3_BUCKET", "from-the-environment")
    assert Settings.load().s3_bucket == "from-the-environment"


def test_a_missing_folder_of_secrets_is_reported(monkeypatch):
    monkeypatch.setenv("VISUALSEARCH_SECRETS_DIR", "/nowhere/at/all")
    with pytest.raises(ConfigurationError, match="no such folder"):
        Settings.load()
