"""schemathesis finds nothing in the REST API, with keys on; `make fuzz-api` lets it search for longer."""

import asyncio

from tests.documented import DOCUMENT
from tests.e2e.test_page_policies import served
from tests.fuzz.rest import ROOT, schemathesis
from tests.pictures import jpeg
from tests.unit.gateway.test_authentication import KEYS
from tests.unit.serving import Serving

ADMIN = "a"
BOUNDED = ("--seed=16", "--max-examples=10")


async def test_nothing_is_found_in_a_bounded_number_of_requests():
    async with Serving(api_keys=KEYS, webhook_token="token") as serving:
        for seed in range(5):
            await serving.index(jpeg(seed))
        async with served(serving.app) as port:
            command = schemathesis(f"http://127.0.0.1:{port}", ADMIN, *BOUNDED)
            run = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
            )
            told, _ = await run.communicate()
    assert run.returncode == 0, told.decode()
    calls = sum(map(len, DOCUMENT["paths"].values()))
    assert f"Selected: {calls}/{calls}" in told.decode()
