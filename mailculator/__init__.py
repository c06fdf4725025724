"""mailculator: a queue-based email pipeline.

Producers insert rows; mailculator takes each mail in, sends it over SMTP and calls the producer back.
"""

__version__ = "0.1.0"
