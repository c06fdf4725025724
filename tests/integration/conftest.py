"""What tests of TLS share, and those of the command line."""

from __future__ import annotations

import pytest

from tests.integration.cli_desk import desk, desk_moto, desk_server, empty  # noqa: F401  # fixtures
from tests.support.certificates import Certificates, make_certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("ca"))
