"""Certificates made by `openssl`: an authority that nobody knows, and what it vouches for."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Authority:
    """A certificate authority of a test's own.

    Attributes:
        file: its certificate, which whoever trusts it is given.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self.file = folder, folder / "authority.pem"
        made = "req", "-x509", *KEY, "-keyout", "authority.key", "-out", self.file.name, "-days", "2"
        self._openssl(*made, "-subj", "/CN=Authority", "-addext", "keyUsage=critical,keyCertSign,cRLSign")

    def vouch(self, subject: str) -> ssl.SSLContext:
        """For a server with a certificate for one name or address, such as "DNS:localhost" or "IP:127.0.0.1"."""
        name = subject.replace(":", "-")
        self._openssl("req", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", "/CN=Receiver")
        (self._folder / f"{name}.cnf").write_text(f"subjectAltName={subject}\nauthorityKeyIdentifier=keyid\n")
        signed = "x509", "-req", "-in", f"{name}.csr", "-CA", self.file.name, "-CAkey", "authority.key"
        self._openssl(*signed, "-CAcreateserial", "-days", "2", "-extfile", f"{name}.cnf", "-out", f"{name}.pem")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        return context

    def _openssl(self, *arguments: str) -> None:
        done = subprocess.run(["openssl", *arguments], cwd=self._folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
