"""`visualsearch train`, `evaluate` and `export` pass their arguments on; without torch they say what is needed."""

import sys

import pytest
from typer.testing import CliRunner

from cli.main import app
from visualsearch.domain.errors import ConfigurationError

run = CliRunner()


@pytest.mark.parametrize(("command", "module"), [("export", "export.to_onnx"), ("train", "training.train")])
def test_without_torch_a_command_gives_a_one_sentence_error_with_the_remedy(command, module, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, module, raising=False)
    answer = run.invoke(app, [command, "x"])
    assert isinstance(answer.exception, ConfigurationError)
    assert "needs torch" in str(answer.exception)
    assert "make setup-train" in str(answer.exception)


def test_evaluate_needs_no_torch_and_parses_its_own_arguments(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "torch", None)
    (tmp_path / "q").write_text("q 0 d 5\nq 0 e 1\n")
    (tmp_path / "r").write_text("q Q0 d 1 0.9 x\n")
    assert run.invoke(app, ["evaluate", "--qrels", str(tmp_path / "q"), "--run", str(tmp_path / "r")]).exit_code == 0
    assert run.invoke(app, ["evaluate", "--run", str(tmp_path / "r")]).exit_code == 1
