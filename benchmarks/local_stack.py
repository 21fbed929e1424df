"""The local stack that is measured."""

from __future__ import annotations

import sys

from compose.runner import join_network
from visualsearch.settings import Settings


def stack_settings() -> Settings:
    """Return the settings of the running stack; go on inside its network, where each of its servers is reachable.

    Entering starts the benchmark again, so call this before anything is measured or written.
    """
    loaded = Settings.load()
    module = sys.modules["__main__"].__spec__.name
    join_network(loaded.home, loaded.milvus_uri, [sys.executable, "-m", module, *sys.argv[1:]])
    return loaded
