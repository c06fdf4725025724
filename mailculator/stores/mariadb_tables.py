"""The tables in MariaDB, as far as the program relies on them. The schema files (sql/mariadb) make them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from mailculator.stores.mariadb_columns import Column, Index, Table

_TEXT = 65535
_NOW = "current_timestamp"

LAYOUT: Mapping[str, Table] = MappingProxyType(
    {
        "emails": Table(
            (
                Column("id", "text", 36, nullable=False),
                Column("status", "status", nullable=False),
                Column("eml_file_path", "text", 500, free=True),
                Column("payload_file_path", "text", 500, free=True),
                Column("reason", "text", _TEXT, free=True),
                Column("version", "int", nullable=False, default="1"),
                Column("ttl", "bigint"),
                Column("created_at", "timestamp", nullable=False, default=_NOW),
                Column("updated_at", "timestamp", nullable=False, default=_NOW, extra="on update"),
                Column("attempts", "int", nullable=False, default="0"),
                Column("generation", "int", nullable=False, default="0"),
                Column("due_at", "timestamp", 6, nullable=False, default=_NOW),
                Column("parked", "tinyint", nullable=False, default="0"),
                Column("claim_token", "text", 32),
                Column("claimed_by", "text", 128),
                Column("lease_until", "timestamp", 6),
                Column("lease_version", "int"),
                Column("failing_since", "timestamp", 6),
                Column("last_error", "text", _TEXT, free=True),
                Column("reached_at", "timestamp", 6),
                Column("recipient_domain", "text", 255),
                Column("crashes", "int", nullable=False, default="0"),
                Column("cancelled", "text", 4000, free=True),
            ),
            (
                Index(("id",), unique=True),
                Index(("status", "parked", "due_at"), name="idx_emails_due"),
                Index(("status", "ttl")),
                Index(("recipient_domain", "id"), name="idx_emails_domain"),
                Index(("last_error", "created_at"), name="idx_emails_last_error"),
                Index(("reason", "created_at"), name="idx_emails_reason"),
            ),
        ),
        "email_status_history": Table(
            (
                Column("id", "bigint", nullable=False, extra="auto_increment"),
                Column("email_id", "text", 36, nullable=False),
                Column("status", "text", 50, nullable=False),
                Column("reason", "text", _TEXT, free=True),
                Column("created_at", "timestamp", nullable=False, default=_NOW),
                Column("version", "int"),
            ),
            (Index(("id",), unique=True), Index(("email_id", "version"), unique=True)),
        ),
        "email_statuses": Table(
            (
                Column("id", "bigint", nullable=False),
                Column("email_id", "text", 36, nullable=False),
                Column("status", "text", 50, nullable=False),
                Column("reason", "text", _TEXT),
                Column("created_at", "timestamp", nullable=False),
            ),
            view=True,
        ),
        "mailculator_schema": Table((Column("name", "text", 128, nullable=False),)),
        "mailculator_meta": Table(
            (Column("name", "text", 64, nullable=False), Column("value", "text", 255, nullable=False))
        ),
        "mailculator_reservations": Table(
            (
                Column("email_id", "text", 255, nullable=False, free=True),
                Column("store", "text", 32, nullable=False),
                Column("reserved_at", "timestamp", 6, nullable=False, default=_NOW),
                Column("settled", "tinyint", nullable=False, default="0"),
                Column("keep_until", "bigint", nullable=False),
            ),
            (Index(("email_id",), unique=True), Index(("keep_until",))),
        ),
        "mailculator_minutes": Table(
            (
                Column("began_at", "timestamp", 6, nullable=False),
                Column("replica", "text", 128, nullable=False),
                Column("service", "text", 64, nullable=False),
                Column("counts", "text", 4096, nullable=False),
                Column("entered", "int", nullable=False),
                Column("ended", "int", nullable=False),
                Column("notes", "text", 4096, nullable=False, free=True),
            ),
            (Index(("began_at", "replica"), unique=True),),
        ),
        "mailculator_pauses": Table(
            (
                Column("pipeline", "text", 32, nullable=False),
                Column("since", "timestamp", 6, nullable=False),
                Column("until", "timestamp", 6),
                Column("who", "text", 4000, nullable=False, free=True),
                Column("why", "text", 4000, nullable=False, free=True),
            ),
            (Index(("pipeline",), unique=True),),
        ),
        "mailculator_audit": Table(
            (
                Column("id", "bigint", nullable=False, extra="auto_increment"),
                Column("at", "timestamp", 6, nullable=False),
                Column("who", "text", 4000, nullable=False, free=True),
                Column("what", "text", 4000, nullable=False, free=True),
                Column("why", "text", 4000, nullable=False, free=True),
            ),
            (Index(("id",), unique=True),),
        ),
        "mailculator_replicas": Table(
            (
                Column("replica", "text", 128, nullable=False),
                Column("service", "text", 64, nullable=False),
                Column("seen_at", "timestamp", 6, nullable=False),
                Column("facts", "text", 4000, nullable=False, free=True),
            ),
            (Index(("replica",), unique=True),),
        ),
    }
)
