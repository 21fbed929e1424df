"""The health checks that containers run, against the real servers of the local stack."""

import re
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.deployment import ROOT, compose

INFER = ROOT / "compose" / "triton" / "infer.py"


def address(url):
    return urlsplit(url).netloc


def run(*words):
    return subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)


def test_tritons_check_asks_for_a_real_embedding(stack):
    asked = run(sys.executable, "-I", INFER, address(stack.triton_url))
    assert not asked.returncode, asked.stderr


@pytest.mark.parametrize("where", ["s3", "gateway"])
def test_tritons_check_fails_where_no_triton_answers(stack, where):
    assert run(sys.executable, "-I", INFER, address(stack.s3_url if where == "s3" else stack.url)).returncode


def test_the_indexers_check_passes_on_a_running_process(stack):
    command = compose()["services"]["indexer"]["healthcheck"]["test"][1:]
    assert command.pop(0) == "python"
    there = {"/var/lib/visualsearch": str(stack.home)}
    words = [re.sub("|".join(there), lambda found: there[found[0]], word) for word in command]
    checked = run(sys.executable, *words)
    assert not checked.returncode, checked.stderr


def test_the_object_stores_check_writes_and_reads(stack):
    filer = stack.s3_changes.rsplit(":", 1)
    check = compose()["services"]["s3"]["healthcheck"]["test"][3].replace("$$", "$")
    here = check.replace("http://127.0.0.1:8888", f"http://127.0.0.1:{int(filer[1]) - 10_000}")
    checked = run("sh", "-c", here.replace("--cacert /run/tls/ca.crt https://127.0.0.1:8333", stack.s3_url))
    assert not checked.returncode, checked.stderr
