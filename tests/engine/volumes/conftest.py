from __future__ import annotations

import pytest

from dosirak.engine.state import Database, Events
from dosirak.engine.volumes import Volumes


@pytest.fixture
def events():
    return Events()


@pytest.fixture
def db(settings):
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.data / "state.db")
    yield database
    database.close()


@pytest.fixture
def volumes(settings, db, events):
    return Volumes(settings, db, events)
