"""The send journal: marks on disk that tell, after a crash, how far a mail had come. docs/journal.md shows the format.

`writer.Journal` makes marks, `reader.Journals` finds those of a dead replica, and `traces` says what they mean. Nothing
here knows a store, a status or a policy.
"""
