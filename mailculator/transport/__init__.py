"""Ways out: the SMTP relay and the producer's callback URL."""
