"""Fuzzes the REST API of a separate stack: `python -m tests.fuzz.rest [SECONDS]`, by `make fuzz-api`.

The stack is thrown away afterwards, because images are deleted and releases promoted.
"""

import hashlib
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.conftest import ROOT, UP_TIMEOUT_S, Stack

DEFAULT_S = 1200


def schemathesis(url, key, *options):
    """Return the command line that tries the gateway at ``url`` with an admin's key."""
    config = ["--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    headers = ["--header", f"Authorization: Bearer {key}"]
    return [sys.executable, "-m", "schemathesis.cli", *config, "run", f"{url}/openapi.json", *headers, *options]


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_S
    key = secrets.token_hex(20)
    os.environ["VISUALSEARCH_API_KEYS"] = f"operator:admin:{hashlib.sha256(key.encode()).hexdigest()}"
    with tempfile.TemporaryDirectory(prefix="visualsearch-fuzz-") as folder:
        stack = Stack(Path(folder) / "state")
        up = stack.command("up", "--detach", timeout_s=UP_TIMEOUT_S)
        try:
            if up.returncode:
                sys.exit(f"The stack did not start: {up.stdout}{up.stderr}")
            stack.command("index", "demo/queries")
            command = schemathesis(stack.settings().url, key, f"--max-time={seconds}")
            sys.exit(subprocess.run(command, cwd=ROOT, check=False).returncode)
        finally:
            stack.command("down")


if __name__ == "__main__":
    main()
