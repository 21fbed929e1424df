"""Loads and unloads versions of the encoder by Triton's model-control API, which requires the admin key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tritonclient.utils import InferenceServerException
from typing_extensions import override

from visualsearch.adapters.triton.connection import connection
from visualsearch.domain.errors import ConfigurationError, Unavailable
from visualsearch.ports import ModelControl

if TYPE_CHECKING:
    from collections.abc import Mapping

    from visualsearch.tls import ClientTLS

HEADER = "triton-grpc-protocol-admin-key"
READY = "READY"
LOAD_S = 180.0
"""Timeout of loading. A version is warmed up before it answers, which has taken 16 s on two busy cores."""


class TritonModelControl(ModelControl):
    """Loads and unloads versions of one model. Requests continue meanwhile, each with the version that it names."""

    def __init__(
        self, address: str, model: str, admin_key: str, timeout_s: float, tls: ClientTLS | None = None
    ) -> None:
        self._client = connection(address, tls)
        self._model = model
        self._headers = {HEADER: admin_key} if admin_key else None
        self._timeout_s = timeout_s

    @override
    async def served(self) -> set[int]:
        try:
            index = await self._client.get().get_model_repository_index(
                headers=self._headers, as_json=True, client_timeout=self._timeout_s
            )
        except InferenceServerException as error:
            raise Unavailable("Triton", str(error)[:200]) from None
        models: list[Mapping[str, str]] = index.get("models", [])
        return {int(one["version"]) for one in models if one["name"] == self._model and one.get("state") == READY}

    @override
    async def serve(self, versions: set[int]) -> None:
        """Load these versions and unload all others.

        Sends the current configuration with a new list of versions, so that it works with a read-only model repository.
        If a version fails to load, the loaded versions stay unchanged.
        """
        served = await self.served()
        if served == versions:
            return
        try:
            config = await self._config(min(served)) if served else None
            await self._client.get().load_model(
                self._model,
                headers=self._headers,
                config=_of_versions(config, versions) if config else None,
                client_timeout=LOAD_S,
            )
        except InferenceServerException as error:
            reason = str(error).split("\n", maxsplit=1)[0]
            if "load failed" in reason:
                raise ConfigurationError(f"Triton cannot load version {sorted(versions - served)}: {reason}") from None
            raise Unavailable("Triton", reason[:300]) from None
        if missing := versions - await self.served():
            raise ConfigurationError(
                f"Triton has not loaded version {sorted(missing)}: is it in the model repository that Triton reads?"
            )

    async def _config(self, version: int) -> dict[str, Any]:
        answer = await self._client.get().get_model_config(
            self._model, str(version), as_json=True, client_timeout=self._timeout_s
        )
        config: dict[str, Any] = answer["config"]
        return config

    @override
    async def close(self) -> None:
        await self._client.close()


def _of_versions(config: dict[str, Any], versions: set[int]) -> str:
    policy = {"specific": {"versions": [str(version) for version in sorted(versions)]}}
    return json.dumps(config | {"version_policy": policy})
