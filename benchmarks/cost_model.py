"""What DynamoDB costs a month: prices, the layout of the older service, and ours from measured units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

DAYS = 30
DAY = 86_400.0

RATES = (30_000, 1_000_000)
"""Emails a day."""


@dataclass(frozen=True)
class Prices:
    """On demand, Standard class, in dollars for a million request units.

    Arguments:
        source: where it stands, and as of when.
    """

    region: str
    write: float
    read: float
    source: str

    def dollars(self, writes: float, reads: float) -> float:
        """For so many units of each kind."""
        return (writes * self.write + reads * self.read) / 1e6


EU_WEST_1 = Prices(
    "eu-west-1",
    write=0.705,
    read=0.1415,
    source="AWS price list published 2026-09-11, SKU 3ERQSZWPAMX2JWHN (reads), F4EZE5SAMS3D49NJ (writes)",
)
US_EAST_1 = Prices(
    "us-east-1", write=0.625, read=0.125, source="https://aws.amazon.com/dynamodb/pricing/on-demand/, since 2024-11-01"
)
REGIONS = (EU_WEST_1, US_EAST_1)


@dataclass(frozen=True)
class Units:
    """Of one month."""

    writes: float
    reads: float


@dataclass(frozen=True)
class OlderLayout:
    """The older service: every step a transaction of two writes, every poll a query over all emails of a month.

    It was never measured; this is its bill by the published rules. It reproduces the 1,493 dollars a month that it is
    known to cost at 30,000 emails a day.

    Arguments:
        steps: transactions an email goes through, the producer's included; each is 6 units: 2 for each of two records
            in the table, 1 for each in StatusIndex.
        kept: days until DynamoDB deletes an email's record.
        record: bytes of one.
        pipelines: each polls.
        pause: seconds between the end of a poll and the next.
        pages: of 1 MB that a poll reads a second, one after the other.
    """

    steps: int = 7
    kept: int = 30
    record: int = 339
    pipelines: int = 4
    pause: float = 30.0
    pages: float = 40.0

    @property
    def writes_an_email(self) -> float:
        """Write units."""
        return 6.0 * self.steps

    def month(self, emails_a_day: int) -> Units:
        """At that rate."""
        size = emails_a_day * self.kept * self.record
        units_a_poll = size / 4096 / 2
        seconds_a_poll = math.ceil(size / 2**20) / self.pages
        polls = self.pipelines * DAYS * DAY / (self.pause + seconds_a_poll)
        return Units(self.writes_an_email * emails_a_day * DAYS, polls * units_a_poll)


KNOWN = 1_493.0
"""Dollars a month of the older layout in eu-west-1 at 30,000 emails a day."""


@dataclass(frozen=True)
class Measured:
    """What the meter said.

    Arguments:
        writes, reads: units an email, polling apart.
        idle: per replica and second, by what it is spent on: reads, writes.
        swept: read units for each record that a sweep looks at.
    """

    writes: float
    reads: float
    idle: Mapping[str, tuple[float, float]]
    swept: float

    def month(self, emails_a_day: int, *, replicas: int, kept: int = 30, sweeps_a_day: float = 4.0) -> Units:
        """At that rate: the emails, the replicas' polling and upkeep, and the sweeps of one of them."""
        emails = emails_a_day * DAYS
        reads = sum(units for units, _ in self.idle.values()) * replicas * DAYS * DAY
        writes = sum(units for _, units in self.idle.values()) * replicas * DAYS * DAY
        swept = self.swept * emails_a_day * kept * sweeps_a_day * DAYS
        return Units(self.writes * emails + writes, self.reads * emails + reads + swept)
