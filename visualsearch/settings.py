"""Every setting, with its default. An environment variable is the field's name in capitals after ``VISUALSEARCH_``.

Values come, first found first, from the environment, from ``stack.env`` (addresses of the running local servers) and
``secrets.env`` (their generated credentials) in the state folder, from the files of ``VISUALSEARCH_SECRETS_DIR`` (each
named as its variable, in small letters: ``visualsearch_postgres_password``), and from the defaults below.
"""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from visualsearch.domain.audit import SHORTEST_DAYS
from visualsearch.domain.errors import ConfigurationError, InvalidInput
from visualsearch.domain.topics import Topic
from visualsearch.tls import ClientTLS, ServerTLS

ROOT_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
"""What needs no escapes in an address, and no step of which is a dot or two."""
ROOT = Path(__file__).resolve().parent.parent
"""The checkout (or, in a container, the folder) that holds model_repository/ and milvus/."""


def state_folder() -> Path:
    """Return the folder of the local state: ``VISUALSEARCH_HOME``, or ``.visualsearch`` in the current folder."""
    return Path(os.environ.get("VISUALSEARCH_HOME") or ".visualsearch").resolve()


def secrets_folder() -> Path | None:
    """Return the folder whose files are secrets, as containers mount them; raises ``ConfigurationError``."""
    named = os.environ.get("VISUALSEARCH_SECRETS_DIR")
    if named and not Path(named).is_dir():
        raise ConfigurationError(f"VISUALSEARCH_SECRETS_DIR is {named!r}, and there is no such folder.")
    return Path(named) if named else None


class Settings(BaseSettings):
    """Addresses, credentials and limits of one process."""

    model_config = SettingsConfigDict(env_prefix="VISUALSEARCH_", extra="ignore", frozen=True)

    home: Path = Field(default_factory=state_folder, description="The folder of the local state.")
    secrets_dir: Path | None = Field(None, description="A folder of secrets, one file a setting; none when not set.")
    url: str = Field("http://127.0.0.1:8080", description="The gateway that the client commands talk to.")
    api_key: SecretStr = Field(SecretStr(""), description="The key that the client commands show a guarded gateway.")

    tls_ca_file: Path | None = Field(
        None, description="PEM file of the authority that the servers' certificates must come from, where TLS is used."
    )
    tls_cert_file: Path | None = Field(
        None, description="PEM file of the certificate that we show servers; none when not set."
    )
    tls_key_file: Path | None = Field(None, description="PEM file of that certificate's key.")

    encoder: Literal["triton", "onnx"] = Field("triton", description="Triton, or ONNX Runtime in process.")
    triton_grpc: str = Field(
        "127.0.0.1:8001", description="Triton's gRPC address, host:port; grpcs:// before it for TLS."
    )
    triton_url: str = Field("http://127.0.0.1:8000", description="Triton's HTTP address.")
    triton_admin_key: SecretStr = Field(SecretStr(""), description="Opens Triton's model-control calls.")
    model_name: str = Field("image_encoder", description="The encoder's name in the model repository.")
    model_repository: Path = Field(ROOT / "model_repository", description="Triton's model repository.")
    model_version: int = Field(1, ge=1, description="The version that the first release is made of.")

    milvus_uri: str = Field("http://127.0.0.1:19530", description="Milvus' address; https:// for TLS.")
    milvus_user: str = Field("root", description="Milvus' user; unused while the password is empty.")
    milvus_password: SecretStr = Field(SecretStr(""), description="Milvus' password.")
    collection_config: Path = Field(ROOT / "milvus" / "collection.yaml", description="Schema and index profiles.")
    index_profile: str = Field("ivf_pq", description="The index profile that the first release is made with.")

    postgres_dsn: str = Field(
        "postgresql://visualsearch@127.0.0.1:5432/visualsearch",
        description=(
            "Postgres' address, or a connection pooler's, without its password. It takes libpq's parameters for TLS: "
            "sslmode=verify-full, sslrootcert, sslcert, sslkey."
        ),
    )
    postgres_password: SecretStr = Field(SecretStr(""), description="Postgres' password.")

    valkey_url: str = Field("redis://127.0.0.1:6379/0", description="Valkey's (or Redis') address; rediss:// for TLS.")
    valkey_password: SecretStr = Field(SecretStr(""), description="Valkey's password.")

    s3_url: str = Field("http://127.0.0.1:8333", description="The object store's address; https:// for TLS.")
    s3_bucket: str = Field("images", description="The bucket that holds the pictures.")
    s3_region: str = Field("us-east-1", description="The object store's region.")
    s3_changes: str = Field(
        "", description="gRPC address, host:port, of the SeaweedFS filer whose change log is followed; empty: none is."
    )
    s3_changes_ca: Path | None = Field(None, description="PEM file of the authority of that gRPC, where it is TLS.")
    s3_changes_cert: Path | None = Field(None, description="PEM file of the certificate that we show the filer.")
    s3_changes_key: Path | None = Field(None, description="PEM file of that certificate's key.")
    s3_access_key: SecretStr = Field(SecretStr(""), description="The object store's access key.")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="The object store's secret key.")

    gateway_host: str = Field("127.0.0.1", description="The address that the gateway binds.")
    gateway_port: int = Field(8080, description="The gateway's HTTP port.")
    gateway_grpc_port: int = Field(8081, description="The gateway's gRPC port.")
    gateway_sockets: tuple[int, ...] = Field(
        (),
        description="Open sockets, as descriptors, that the gateway serves HTTP on in place of its port: [5].",
    )
    gateway_tls_cert_file: Path | None = Field(
        None, description="PEM file of the gateway's certificate. With it, HTTP and gRPC are served by TLS alone."
    )
    gateway_tls_key_file: Path | None = Field(None, description="PEM file of that certificate's key.")
    gateway_tls_client_ca_file: Path | None = Field(
        None,
        description=(
            "PEM file of an authority. With it, every caller of the gateway must show a certificate of that authority, "
            "as a front proxy can."
        ),
    )
    gateway_workers: int = Field(0, ge=0, description="The gateway's processes behind these ports; 0 is one per core.")
    deadline_ms: int = Field(
        1800, ge=100, le=2400, description="Longest time a request waits for the servers behind it, in ms."
    )
    decode_threads: int = Field(
        0, ge=0, description="Threads that decode in each process; 0: one per core together, and two at least."
    )
    max_waiting: int = Field(
        128, ge=1, description="Searches in progress, in all processes together, before the excess gets 503."
    )
    api_keys: str = Field(
        "",
        description="Keys beside those that `visualsearch keys` makes: comma-separated owner:role:sha256-of-key; roles "
        "read, write, admin.",
    )
    require_keys: bool = Field(
        False,
        description="Whether each call needs a key even if none is configured or made yet. Without any, the gateway "
        "serves everybody on this machine.",
    )
    jwt_audience: str = Field("", description="The audience (aud) that tokens must be made for.")
    jwt_issuer: str = Field(
        "", description="Issuer (iss) whose JSON Web Tokens are accepted beside keys: an https address. Empty: none."
    )
    jwt_jwks_url: str = Field(
        "", description="Address of the issuer's keys (JWKS). Empty: the issuer's discovery document names it."
    )
    jwt_leeway_s: float = Field(30, ge=0, le=300, description="How far the issuer's clock may differ, in s.")
    jwt_owner_claim: str = Field("sub", min_length=1, description="The claim of a token that is its owner.")
    jwt_scope_claim: str = Field(
        "scope", min_length=1, description="The claim with a token's scopes: a text with spaces between, or a list."
    )
    allow_anonymous: bool = Field(
        False, description="Whether a gateway without keys may bind an address that is not loopback."
    )
    allowed_hosts: str = Field(
        "",
        description=(
            "Comma-separated hosts by which the gateway may be called; * is every host. Empty: every host where keys "
            "are configured, loopback alone where not."
        ),
    )
    cors_origins: str = Field(
        "",
        description=(
            "Comma-separated origins whose pages may call the gateway, such as https://shop.example; * is every origin "
            "and needs keys. Empty: pages of the gateway alone."
        ),
    )
    root_path: str = Field(
        "",
        description="Path below which a proxy in front serves the gateway, such as /vs, stripped by the proxy or not.",
    )
    rate_limit: float = Field(
        0, ge=0, description="Requests a second that one caller may make; 0 is no limit. Loopback has none by default."
    )
    rate_limit_loopback: bool = Field(False, description="Whether callers on this machine are limited too.")
    caller_share: float = Field(
        0.25,
        ge=0,
        description="Share of this machine's cores that one caller's work may take while others call too, by what "
        "requests cost; 0 is no limit. More than 1 makes sense where encoder and index run on other machines.",
    )
    max_per_caller: int = Field(
        64, ge=1, description="Requests of one caller in progress, in all processes together, before it gets 429."
    )
    max_connections: int = Field(4096, ge=1, description="Open connections, in all processes together.")
    max_connections_per_address: int = Field(
        2048, ge=1, description="Open connections of one address (IPv6: of its /64), in all processes together."
    )
    quota_images: int = Field(0, ge=0, description="Pictures that one owner of a key may store; 0 is no limit.")
    quota_bytes: int = Field(0, ge=0, description="Bytes of pictures that one owner of a key may store; 0 is no limit.")
    blocked_sources: str = Field("", description="Comma-separated sources whose images are never shown.")
    blocked_ids: str = Field("", description="Comma-separated ids of images that are never shown.")
    min_result_side: int = Field(
        0, ge=0, description="Images with a shorter side below this many pixels are not shown."
    )
    recall_share: float = Field(
        0.01, ge=0, le=1, description="Share of the searches whose recall is measured after the answer; 0 is none."
    )
    store_queries: bool = Field(True, description="Whether query pictures are kept (under queries/) for training.")
    malware_scanner: str = Field(
        "",
        description=(
            "What scans new pictures for viruses: clamd:/run/clamav/clamd.ctl, clamd:HOST:PORT, or command:PROGRAM, "
            "which reads the file from standard input and exits with 1 if it finds something. Empty: nothing does."
        ),
    )
    malware_scanner_down: Literal["refuse", "accept"] = Field(
        "refuse", description="What happens to new pictures while the scanner cannot be reached."
    )
    user_id_key: SecretStr = Field(
        SecretStr(""),
        description="Secret that users' ids are hashed with before they are kept; empty: they are not kept.",
    )
    retention_days: int = Field(
        90, ge=1, le=3650, description="Days after which interactions, queries and their pictures are dropped."
    )
    audit_days: int = Field(400, ge=SHORTEST_DAYS, le=36500, description="Days that the audit log keeps an entry.")

    index_batch: int = Field(32, ge=1, le=256, description="Events that an indexer takes at a time.")
    stale_after_s: float = Field(
        30, gt=0, description="After this long another indexer takes a dead one's events over."
    )
    max_deliveries: int = Field(5, ge=1, description="Deliveries after which an event becomes a dead letter.")
    sweep_after_s: float = Field(
        60, gt=0, description="Images pending for longer than this are put on the stream again."
    )

    indexer_metrics_host: str = Field("127.0.0.1", description="The address that the indexer's /metrics binds.")
    indexer_metrics_port: int = Field(0, ge=0, description="Port of the indexer's own /metrics; 0: it has none.")

    tls_addresses: str = Field(
        "", description="Comma-separated host:port whose certificates' ends the indexer's /metrics tells."
    )

    bucket_sweep_s: float = Field(
        300, gt=0, description="How often the whole bucket is looked through for objects whose events never came."
    )
    webhook_rate: float = Field(
        500, gt=0, description="Records a second that one sender may report to POST /events/s3, before it gets 429."
    )
    webhook_token: SecretStr = Field(SecretStr(""), description="Opens POST /events/s3 to an object store.")
    sns_topics: str = Field(
        "",
        description="Comma-separated topics of Amazon SNS (arn:aws:sns:REGION:ACCOUNT:NAME) whose signed messages POST "
        "/events/s3 accepts without a token. Empty: none.",
    )

    otlp_endpoint: str = Field(
        "",
        description="Where traces go: an OpenTelemetry collector's OTLP over HTTP, http://host:4318. Empty: nowhere.",
    )
    trace_ratio: float = Field(1.0, ge=0, le=1, description="Share of the traces begun here that are kept.")

    evaluation_set: Path = Field(
        ROOT / "demo" / "pictures", description="A folder of category folders, by which releases are judged."
    )
    release_margin: float = Field(0.01, ge=0, description="How far a release's nDCG@10 may be below the live one's.")
    release_recall: float = Field(0.9, ge=0, le=1, description="The recall@10 that a release's index must have.")
    release_p95_ms: float = Field(300, gt=0, description="What a search by a release may take at p95, in ms.")

    log_format: Literal["auto", "json", "text"] = Field("auto", description="json, or text for a terminal.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")

    @property
    def client_tls(self) -> ClientTLS | None:
        """Return what clients of TLS servers trust and show; None if no authority is set.

        Raises ``ConfigurationError`` if a file does not exist.
        """
        if self.tls_ca_file is None:
            return None
        self._require_files("tls_ca_file", "tls_cert_file", "tls_key_file")
        return ClientTLS(self.tls_ca_file, self.tls_cert_file, self.tls_key_file)

    @property
    def gateway_tls(self) -> ServerTLS | None:
        """Return what the gateway shows its callers; None if it serves plain text.

        Raises ``ConfigurationError`` if a file does not exist, or callers would have to show a certificate without TLS.
        """
        self._require_files("gateway_tls_cert_file", "gateway_tls_key_file", "gateway_tls_client_ca_file")
        if self.gateway_tls_cert_file is None:
            if self.gateway_tls_client_ca_file:
                raise ConfigurationError(
                    "VISUALSEARCH_GATEWAY_TLS_CLIENT_CA_FILE is set: callers can show a certificate only if "
                    "VISUALSEARCH_GATEWAY_TLS_CERT_FILE is set too."
                )
            return None
        key = self.gateway_tls_key_file or self.gateway_tls_cert_file
        return ServerTLS(self.gateway_tls_cert_file, key, self.gateway_tls_client_ca_file)

    @property
    def topics(self) -> list[Topic]:
        """The topics of Amazon SNS whose messages are accepted."""
        return [Topic.parse(arn.strip()) for arn in self.sns_topics.split(",") if arn.strip()]

    @field_validator("sns_topics")
    @classmethod
    def _check_topics(cls, topics: str) -> str:
        try:
            for arn in filter(None, map(str.strip, topics.split(","))):
                Topic.parse(arn)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
        return topics

    @field_validator("root_path")
    @classmethod
    def _check_path(cls, path: str) -> str:
        if not ROOT_PATH.fullmatch(path):
            raise ValueError("it must be a path such as /vs: letters, digits and -._~, and no slash at the end")
        return path

    @field_validator("jwt_issuer", "jwt_jwks_url")
    @classmethod
    def _check_private(cls, url: str) -> str:
        if url and not _is_private(url):
            raise ValueError("it must be an https address; http is for an issuer on this machine alone")
        return url

    @field_validator("jwt_issuer")
    @classmethod
    def _check_audience(cls, issuer: str, others: ValidationInfo) -> str:
        if issuer and not others.data.get("jwt_audience"):
            raise ValueError("VISUALSEARCH_JWT_AUDIENCE is needed too, so that tokens for other services are refused")
        return issuer

    def _require_files(self, *names: str) -> None:
        """Raise ``ConfigurationError`` if a setting names a file that does not exist.

        Not when settings are loaded: `up` makes the files of a local stack.
        """
        for name in names:
            file = getattr(self, name)
            if file is not None and not file.is_file():
                raise ConfigurationError(f"VISUALSEARCH_{name.upper()} is {str(file)!r}, and there is no such file.")

    @classmethod
    def load(cls) -> Self:
        """Read settings from the environment and the state folder.

        Raises ``ConfigurationError`` naming each setting that does not fit.
        """
        home = state_folder()
        try:
            files = (home / "secrets.env", home / "stack.env")
            return cls(_env_file=files, _secrets_dir=secrets_folder(), home=home)  # type: ignore[call-arg]
        except ValidationError as error:
            wrong = "; ".join(f"VISUALSEARCH_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors())
            raise ConfigurationError(f"These settings do not fit: {wrong}.") from None


def _is_private(url: str) -> bool:
    """Return whether nobody on the way can read or change what an address answers."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if not host or parts.username is not None or parts.query or parts.fragment:
        return False
    if parts.scheme == "https":
        return True
    try:
        return parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False
