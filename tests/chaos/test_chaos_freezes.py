"""Replicas stand still for twice their lease and go on: what others took up meanwhile they neither write nor send.

`MAILCULATOR_TEST_CHAOS_FREEZES=300` makes it a matter of an hour, most of which passes in waiting: in three parts side
by side (`MAILCULATOR_TEST_CHAOS_PARTS=3`, and as many workers) it is done in half of that.
"""

from __future__ import annotations

import pytest

from tests.chaos.ground import Ground
from tests.chaos.harness import Begin, blow_count, lease, time_limit
from tests.chaos.load import Moods
from tests.chaos.parts import Part, parts

FREEZES, EMAILS = 10, 200
"""Where the environment asks for nothing else. Freezes are MariaDB's, and DynamoDB has a tenth of them beside; an
embedded queue has no rival. Mails are shared out as in the other runs."""
MOMENT = 0.8
"""Seconds until a replica is stopped, at the most."""
GO_AHEAD = 0.8
"""Seconds that the relay takes for its 354, at the most: many are stopped while they wait for it, and find it there."""

pytestmark = pytest.mark.timeout(time_limit("freezes", FREEZES, EMAILS))


_MYSQL = [pytest.param("mysql", part, id=part.label("mysql")) for part in parts()]
_DYNAMODB = pytest.param("dynamodb", Part(), id="dynamodb", marks=pytest.mark.dynamodb)


@pytest.mark.parametrize(("ground", "part"), [*_MYSQL, _DYNAMODB], indirect=["ground"])
async def test_chaos_freezes(begin: Begin, ground: Ground, part: Part) -> None:
    chaos = begin("freezes", EMAILS, moods=Moods(data=GO_AHEAD), part=part)
    freezes = part.share(blow_count("freezes", chaos.ground.store, FREEZES))
    record = await chaos.run(lambda: chaos.fleet.freeze(MOMENT, 2 * lease(ground.store)), freezes)
    assert record.blows == record.struck == freezes
    assert any(watch.gone for watch in chaos.fleet.watches), "nobody took anything over: nothing is shown"
