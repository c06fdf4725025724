"""Certificates made for the tests, by a CA of their own."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Certificates:
    """A CA to trust and the certificates it gave out.

    Arguments:
        ca_file: PEM of the CA.
        ca: gives out further ones.
    """

    ca_file: Path
    ca: trustme.CA

    def server(self, *names: str) -> ssl.SSLContext:
        """A server's context with a certificate for these names or addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


def make_certificates(directory: Path) -> Certificates:
    """A fresh CA; its PEM file is put into `directory`."""
    ca = trustme.CA()
    ca_file = directory / "ca.pem"
    ca.cert_pem.write_to_path(ca_file)
    return Certificates(ca_file, ca)
