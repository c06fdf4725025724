"""Which replies of a relay say: not so fast."""

from __future__ import annotations

import re

# RFC 3463 and the IANA registry have no enhanced code for it that relays agree on, so words decide for the codes that
# mean other things as well: 450 greylists, 451 is any local error, 452 a full disk or too many recipients.
_WORDS = re.compile(
    r"\b(?:rate|throttl\w*|slow(?:ing)? down|too (?:fast|many|much)|quota|limit(?:s|ed|ing)?|volume)\b", re.IGNORECASE
)
_OF_THE_MAILBOX = re.compile(
    r"\b[45]\.2\.2\b|\bmailbox (?:is )?(?:full|over)|\bover quota\b|\brecipients?\b", re.IGNORECASE
)


def asks_for_less(code: int | None, text: str, *, phase: str) -> str:
    """The class of a reply that is about the rate at which mail comes, or "" for one that is not.

    421 closes a session that has had enough (RFC 5321 section 4.2.2); Amazon SES says 454 "Throttling failure"
    (docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html), which at AUTH is another thing (RFC 4954 section 6).

    Arguments:
        code: None where there was no reply.
        phase: of the session, as errors name it.
    """
    if code == 421:
        return "421"
    if code == 454 and phase not in ("auth", "tls"):
        return "454"
    if code in (450, 451, 452) and _WORDS.search(text) and not _OF_THE_MAILBOX.search(text):
        return "45x"
    return ""
