"""The inputs that define the servers of one stack, and the addresses that follow from them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from compose.certificates import Certificates
from compose.state import GRPC_OFFSET, LOOPBACK
from visualsearch.settings import ROOT

if TYPE_CHECKING:
    from compose.state import Ports


@dataclass(frozen=True, slots=True)
class StackPlan:
    """The folders, ports and credentials of one stack."""

    home: Path
    server_binaries: Path
    ports: Ports
    secrets: dict[str, str]
    listeners: dict[str, int] = field(default_factory=dict)
    """The open sockets of the published ports, as file descriptors. Empty without a network of its own."""
    tls: bool = False
    """Whether clients reach the servers by TLS. The relay ends it, and forwards to the servers' own ports."""

    def data(self, name: str) -> Path:
        """Return the data folder of a server, and create it on first use."""
        folder = self.home / "data" / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def model_repository(self) -> Path:
        """Return Triton's model repository: that of the checkout, unless the setting names another."""
        return Path(os.environ.get("VISUALSEARCH_MODEL_REPOSITORY") or ROOT / "model_repository").resolve()

    @property
    def shm_prefix(self) -> str:
        """Return the name prefix of this stack's shared memory, so that cleanup removes no other stack's memory."""
        return f"vs_{hashlib.sha256(str(self.home).encode()).hexdigest()[:10]}_"

    @property
    def certificates(self) -> Certificates:
        """Return the certificates, which exist if ``tls`` is set."""
        return Certificates(self.home / "tls")

    def own_port(self, name: str) -> int:
        """Return the port that a server itself listens on; clients use the port of that name."""
        return self.ports[f"{name}_plain" if self.tls else name]

    @property
    def gateway_url(self) -> str:
        """Return the gateway's REST address."""
        return f"{self._http}://{LOOPBACK}:{self.ports['gateway']}"

    @property
    def triton_grpc(self) -> str:
        """Return Triton's gRPC address for clients."""
        return f"{'grpcs://' if self.tls else ''}{LOOPBACK}:{self.ports['triton_grpc']}"

    @property
    def milvus_uri(self) -> str:
        """Return Milvus' address for clients."""
        return f"{self._http}://{LOOPBACK}:{self.ports['milvus']}"

    @property
    def postgres_dsn(self) -> str:
        """Return Postgres' address for clients, with the files that they need but without the password."""
        dsn = f"postgresql://visualsearch@{LOOPBACK}:{self.ports['postgres']}/visualsearch"
        if not self.tls:
            return dsn
        client = self.certificates.client
        files = {"sslrootcert": client.ca, "sslcert": client.certificate, "sslkey": client.key}
        return f"{dsn}?{urlencode({'sslmode': 'verify-full', **files})}"

    @property
    def valkey_url(self) -> str:
        """Return Valkey's address for clients."""
        return f"{'rediss' if self.tls else 'redis'}://{LOOPBACK}:{self.ports['valkey']}/0"

    @property
    def s3_url(self) -> str:
        """Return the object store's address for clients."""
        return f"{self._http}://{LOOPBACK}:{self.ports['s3']}"

    @property
    def s3_changes(self) -> str:
        """Return the address of the filer's log of changes for clients."""
        return f"{LOOPBACK}:{self.ports['weed_filer'] + GRPC_OFFSET}"

    @property
    def _http(self) -> str:
        return "https" if self.tls else "http"
