"""What tests of the gateway share."""

import pytest

from gateway import service
from gateway.explanation import explainer


@pytest.fixture
def impatient(monkeypatch):
    """Wait less for what is not there."""
    monkeypatch.setattr(explainer, "POLL_S", 0.001)
    monkeypatch.setattr(explainer, "PATIENCE_S", 0.002)
    monkeypatch.setattr(service, "POLL_S", 0.001)
    monkeypatch.setattr(service, "CLICK_CHECK_S", 0.05)
