"""Twelve bugs that must never come back, each as a change to the source, and the test that catches it.

They are what the service that mailculator replaces got wrong, or what its own guarantees hang on. A suite that lets one
of them pass is worth nothing where it counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bug:
    """One change, and its test.

    Arguments:
        file: below the package.
        old: what stands there, once.
        new: what the bug makes of it.
        caught_by: the test that fails then, and passes without it.
        more: further changes, each a file, what stands there and what it becomes: some things are kept twice.
    """

    name: str
    file: str
    old: str
    new: str
    caught_by: str
    more: tuple[tuple[str, str, str], ...] = ()

    def plant(self, package: Path) -> None:
        """Change a copy of the package. AssertionError where the source has moved on without this table."""
        for file, old, new in ((self.file, self.old, self.new), *self.more):
            path = package / file
            source = path.read_text(encoding="utf-8")
            assert source.count(old) == 1, f"{self.name}: {file} has {source.count(old)} times {old!r}"
            path.write_text(source.replace(old, new), encoding="utf-8")


BUGS = (
    Bug(
        "the version is not compared",
        "stores/sqlite_moves.py",
        "AND emails.version = moves.version AND {}",
        "AND {}",
        "tests/contract/test_record.py::test_g1_version_a_claim_of_an_older_version_is_lost[sqlite]",
    ),
    Bug(
        "the claim's token is not compared",
        "stores/sqlite_moves.py",
        '_FIND.format("emails.claim_token = moves.token")',
        '_FIND.format("TRUE")',
        "tests/contract/test_record.py::test_g1_token_another_claim_of_the_same_version_is_not_ours[sqlite]",
    ),
    Bug(
        "a callback that answers 500 is acknowledged",
        "pipelines/callback.py",
        "        if 200 <= answer.status < 300:\n            self._guard.succeeded()",
        "        if answer.status != NOT_READY:\n            self._guard.succeeded()",
        "tests/unit/pipelines/test_callback.py::test_g9_no_other_answer_is_ever_acknowledged[500]",
    ),
    Bug(
        "the dot leaves without its mark",
        "pipelines/attempt.py",
        "            await self._marks.dot(self._key)\n",
        "            pass\n",
        "tests/unit/pipelines/test_sender.py::"
        "test_the_dot_is_marked_before_it_leaves_and_the_reply_before_anything_else",
    ),
    Bug(
        "a failing QUIT fails the mail",
        "transport/smtp.py",
        "            return settle(reply, text)\n",
        '            await session._wire.exchange(b"QUIT", 1.0)\n            return settle(reply, text)\n',
        "tests/integration/test_smtp_connections.py::test_g4_a_failing_quit_changes_no_outcome[reset]",
    ),
    Bug(
        "mails share where their reply is kept",
        "pipelines/sender.py",
        "        attempt = Attempt(email, key, self._marks, self._timing.lease_margin)\n",
        "        attempt = Attempt(email, key, self._marks, self._timing.lease_margin)\n"
        '        attempt = self.__dict__.setdefault("_shared", attempt)\n',
        "tests/unit/pipelines/test_sender.py::test_g3_mails_at_once_keep_their_own_outcomes",
    ),
    Bug(
        "a lease is held against the wall clock",
        "model.py",
        "self.clock() + margin < self.expires_at",
        '__import__("time").time() + margin < self.expires_at',
        "tests/unit/pipelines/test_sender.py::test_g7_a_lease_goes_by_the_monotonic_clock",
    ),
    Bug(
        "a write makes a ghost of a record that DynamoDB has deleted",
        "stores/dynamodb/table.py",
        '        "ConditionExpression": update.where.render(names),\n',
        '        "ConditionExpression": f"attribute_not_exists(Id) OR ({update.where.render(names)})",\n',
        "tests/contract/test_record.py::test_a_row_that_is_gone_is_lost[dynamodb]",
    ),
    Bug(
        "marks are not synced to the disk",
        "journal/segments.py",
        "        self._disk.datasync(self._descriptor)\n",
        "        pass\n",
        "tests/unit/journal/test_writer.py::test_dots_and_replies_survive_the_machine_each_by_itself",
    ),
    Bug(
        "one bad row ends the whole claim",
        "stores/sqlite_claims.py",
        "        odd = odd_rows(connection, rows)\n",
        "        odd = odd_rows(connection, rows)\n        rows = [] if odd else rows\n        odd = {}\n",
        "tests/contract/test_claim.py::test_g14_a_corrupt_row_is_parked_with_the_reason_and_holds_up_nobody"
        "[sqlite-version-0-row_corrupt: version 0]",
    ),
    Bug(
        "error 1020 is not tried again",
        "stores/mariadb_errors.py",
        "_AGAIN = frozenset({1020, 1205,",
        "_AGAIN = frozenset({1205,",
        "tests/unit/stores_mariadb/test_errors.py",
    ),
    Bug(
        "a connection is used again after a send was cancelled",
        "transport/smtp_judgement.py",
        "(RelayDeferred, RelayRefused)) or error.code == 421:\n            self._wire.abort()\n",
        "(RelayDeferred, RelayRefused)) or error.code == 421:\n            self._wire._owed = 0\n",
        "tests/integration/test_smtp_connections.py::test_a_cancelled_send_leaves_no_reply_for_the_next_mail",
        more=(
            (
                "transport/smtp.py",
                "        else:\n            session.abort()\n",
                "        else:\n            self._give_back(session)\n",
            ),
        ),
    ),
)
