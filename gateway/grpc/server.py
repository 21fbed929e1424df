"""The gRPC methods Embed and Search, with the standard health and reflection services."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
import numpy as np
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from gateway.grpc import visualsearch_pb2 as pb
from gateway.grpc import visualsearch_pb2_grpc as pb_grpc
from gateway.limits.caller_limits import current_account
from gateway.search.options import SearchOptions
from visualsearch.domain import errors
from visualsearch.domain.access import Scope
from visualsearch.domain.images import EMBEDDING_DIM, MAX_UPLOAD_BYTES, Box
from visualsearch.domain.search import DEFAULT_K, MAX_K, MAX_SCORE, MIN_SCORE, NearDuplicates
from visualsearch.observability import tracing
from visualsearch.observability.metrics import count_error, count_request
from visualsearch.tls import stamp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from numpy.typing import NDArray

    from gateway.caller import Caller
    from gateway.service import Gateway
    from visualsearch.domain.releases import Release
    from visualsearch.tls import ServerTLS

NAME = pb.DESCRIPTOR.services_by_name["VisualSearch"].full_name
MESSAGE_BYTES = MAX_UPLOAD_BYTES + 1024 * 1024

CODES: dict[type[errors.VisualSearchError], grpc.StatusCode] = {
    errors.InvalidInput: grpc.StatusCode.INVALID_ARGUMENT,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.Forbidden: grpc.StatusCode.PERMISSION_DENIED,
    errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.FingerprintMismatch: grpc.StatusCode.FAILED_PRECONDITION,
    errors.VisualSearchError: grpc.StatusCode.INTERNAL,
}

Context = grpc.aio.ServicerContext[Any, Any]


class Servicer(pb_grpc.VisualSearchServicer):
    """Implements the gRPC methods with the same search as the REST API."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def Embed(self, request: pb.EmbedRequest, context: Context) -> pb.Vector:  # noqa: N802 - the contract's name
        """Embed a picture, or a box inside it."""
        async with _counted(context, "Embed"), self._admitted(context):
            current_account().charge_body(len(request.image_bytes))
            box = request.bbox if request.HasField("bbox") else None
            region = Box(box.x1, box.y1, box.x2, box.y2) if box else None
            embedding, release = await self._gateway.search.embed(request.image_bytes, region)
            return pb.Vector(values=embedding.tolist(), release=release.name)

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.TopK:  # noqa: N802 - the contract's name
        """Find the images most similar to an embedding."""
        async with _counted(context, "Search"), self._admitted(context) as caller:
            k = request.k or DEFAULT_K
            if not 1 <= k <= MAX_K:
                raise errors.InvalidInput(f"k must be 1 to {MAX_K}, and is {k}.")
            min_score = request.min_score if request.HasField("min_score") else MIN_SCORE
            if not MIN_SCORE <= min_score <= MAX_SCORE:
                raise errors.InvalidInput(f"min_score must be {MIN_SCORE:g} to {MAX_SCORE:g}, and is {min_score:g}.")
            release = await self._release(request.vector.release)
            options = SearchOptions(k, NearDuplicates.KEEP, self._gateway.filter_for(caller), min_score=min_score)
            results = await self._gateway.search.by_embedding(_unit(request.vector.values), release, options)
            ids, scores = [hit.id for hit in results], [hit.score for hit in results]
            return pb.TopK(ids=ids, distances=scores, release=release.name)

    async def _release(self, name: str) -> Release:
        """Return the release that made a vector, or the live one if none is named.

        Vectors of different releases cannot be compared. A vector stays valid after a promotion.
        """
        releases = self._gateway.releases
        try:
            return await releases.named(name) if name else await releases.live()
        except errors.NotFound:
            live = await releases.live()
            raise errors.FingerprintMismatch(
                f"The vector was made by release {name[:100]}, and {live.name} is live. Embed it again."
            ) from None

    @asynccontextmanager
    async def _admitted(self, context: Context) -> AsyncIterator[Caller]:
        """Return the caller while its request is within its limits."""
        caller = await self._caller(context)
        address, port = _peer(context)
        with self._gateway.limits.request(caller.owner, address, port):
            yield caller

    async def _caller(self, context: Context) -> Caller:
        headers = {str(key): str(value) for key, value in context.invocation_metadata() or ()}
        if self._gateway.host_policy.same_origin and "origin" in headers:
            # Browsers alone send it. grpc.aio does not tell the authority, so this is all that can be checked. No
            # browser speaks HTTP/2 without TLS, and with TLS a name that is rebound is not in the certificate.
            raise errors.Forbidden(
                "This gateway was started without requiring keys, so it refuses calls from web pages."
            )
        return await self._gateway.access.admit(headers, Scope.SEARCH, _peer(context)[0])


def _peer(context: Context) -> tuple[str, int]:
    """Return address and port of a peer such as ipv4:127.0.0.1:1234 or ipv6:%5B::1%5D:1234; ("", 0) of any other."""
    address, _, port = unquote(context.peer()).partition(":")[2].rpartition(":")
    return address.strip("[]"), int(port) if port.isdecimal() else 0


def _unit(values: Any) -> NDArray[np.float32]:  # noqa: ANN401 - a protobuf container
    """Normalize to float32 [256] of unit length. Raises ``InvalidInput`` unless all 256 are finite and one is not 0."""
    vector = np.array(values, np.float64)
    length = float(np.linalg.norm(vector)) if len(vector) == EMBEDDING_DIM else 0.0
    if not np.isfinite(length) or length == 0:
        raise errors.InvalidInput(f"A vector must have {EMBEDDING_DIM} finite numbers that are not all 0.")
    return (vector / length).astype(np.float32)


@asynccontextmanager
async def _counted(context: Context, method: str) -> AsyncIterator[None]:
    """Count and trace a call; translate domain errors into gRPC statuses."""
    begin, code = time.perf_counter(), grpc.StatusCode.OK
    parent = dict(context.invocation_metadata() or ()).get("traceparent", "")
    try:
        with tracing.span(f"{NAME}/{method}", "server", str(parent), rpc__system="grpc"):
            yield
    except errors.VisualSearchError as error:
        count_error(error)
        code = next(CODES[kind] for kind in type(error).__mro__ if kind in CODES)
        await context.abort(code, str(error))
    finally:
        count_request(f"/{NAME}/{method}", "POST", code.name, time.perf_counter() - begin)


def _credentials(tls: ServerTLS) -> grpc.ServerCredentials:
    """Return credentials that look for a renewed certificate at each new connection."""
    loaded = stamp(tls.files)

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal loaded
        now = stamp(tls.files)
        if now == loaded:
            return None
        try:
            tls.context()  # certificate and key fit together
            configuration = _configuration(tls)
        except OSError:  # they are being replaced, one after the other
            return None
        loaded = now
        return configuration

    return grpc.dynamic_ssl_server_credentials(_configuration(tls), renewed, tls.client_ca is not None)  # type: ignore[arg-type]


def _configuration(tls: ServerTLS) -> grpc.ServerCertificateConfiguration:
    pair = tls.key.read_bytes(), tls.certificate.read_bytes()
    return grpc.ssl_server_certificate_configuration([pair], tls.client_ca.read_bytes() if tls.client_ca else None)


@asynccontextmanager
async def serve(gateway: Gateway, address: str, shutdown_s: float, tls: ServerTLS | None = None) -> AsyncIterator[None]:
    """Serve while the block runs, with ``tls`` by TLS alone.

    At the block's end, calls in flight have ``shutdown_s`` seconds to finish.
    """
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", MESSAGE_BYTES)])
    pb_grpc.add_VisualSearchServicer_to_server(Servicer(gateway), server)  # type: ignore[no-untyped-call]
    checks = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    for name in ("", NAME):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
    if tls:
        server.add_secure_port(address, _credentials(tls))
    else:
        server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await checks.enter_graceful_shutdown()
        await server.stop(shutdown_s)
