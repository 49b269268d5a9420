"""A sandbox of the test's own, whose time stands still, beside a flusher."""

import pytest

from tests.app.core import Core, Tenant
from tests.app.subscriptions.studio import Studio
from tests.conftest import DatabaseUrls


@pytest.fixture
async def studio(core: Core, tenant: Tenant, urls: DatabaseUrls, flusher: None) -> Studio:  # noqa: ARG001 - it runs
    """A sandbox with one feature and no plan."""
    opened = Studio(core, tenant, urls)
    await opened.open()
    return opened
