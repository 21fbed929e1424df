"""Request one embedding from Triton: its health check in containers, using only the standard library.

The server's own readiness check still succeeds when the model's process is dead or returns NaN.
The exit status is 0 if the inference works. Usage: python3 infer.py [address]
"""

import json
import math
import struct
import sys
import urllib.request

MODEL, SIDE, DIM, TIMEOUT_S = "image_encoder", 224, 256, 4


def main(address: str) -> None:
    """Send a grey picture as raw uint8 [1, 224, 224, 3]; the response must be float32 [1, 256] of unit length."""
    raw = bytes([127]) * (SIDE * SIDE * 3)
    head = {
        "inputs": [
            {
                "name": "pixels",
                "shape": [1, SIDE, SIDE, 3],
                "datatype": "UINT8",
                "parameters": {"binary_data_size": len(raw)},
            }
        ],
        "outputs": [{"name": "embedding", "parameters": {"binary_data": True}}],
    }
    words = json.dumps(head).encode()
    request = urllib.request.Request(
        f"http://{address}/v2/models/{MODEL}/infer",
        words + raw,
        {"Inference-Header-Content-Length": str(len(words)), "Content-Type": "application/octet-stream"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        start = int(answer.headers["Inference-Header-Content-Length"])
        vector = struct.unpack(f"<{DIM}f", answer.read()[start:])
    length = math.sqrt(sum(value * value for value in vector))
    if not math.isclose(length, 1, abs_tol=1e-3):
        raise SystemExit(f"the embedding's length is {length}, not 1")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["127.0.0.1:8000"]))
