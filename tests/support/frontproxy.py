"""nginx or Caddy in front of a web server, as docs/security.md configures it: private, on a free port of the loopback.

The configuration is the page's own. Only what depends on the machine is replaced: ports, the certificate, files.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.support.redisserver import free_port
from tests.support.system import ROOT, eventually

HOST = "images.example.org"
KINDS = ("nginx", "caddy")
# Debian's nginx is where only root looks for programs.
SEARCHED = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"))


def find(kind: str) -> str | None:
    """The path of the program; None where it is missing, or openssl, which makes the certificate."""
    return shutil.which(kind, path=SEARCHED) if shutil.which("openssl") else None


def caddy_version() -> tuple[int, int]:
    """As (2, 7)."""
    said = subprocess.run([find("caddy") or "caddy", "version"], check=True, capture_output=True, text=True).stdout
    found = re.match(r"v?(\d+)\.(\d+)", said)
    # A build without a version is one of today's.
    return (int(found[1]), int(found[2])) if found else (99, 0)


def configuration(kind: str) -> str:
    """The first block of docs/security.md in that proxy's language; another one is for a service below a prefix."""
    page = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    block, *_ = re.findall(rf"^```{kind}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return str(block)


def replaced(text: str, pattern: str, by: str) -> str:
    """Raises ValueError if the page no longer has what a private copy must have otherwise."""
    # A function, whose result is taken as it is: a path may have a backslash.
    result, count = re.subn(pattern, lambda found: by, text)
    if not count:
        raise ValueError(f"docs/security.md: nothing matches {pattern!r}")
    return result


class FrontProxy:
    """One running proxy; its files are in `directory`."""

    def __init__(self, kind: str, *, upstream: int, directory: Path) -> None:
        """upstream: the web server's port. Raises FileNotFoundError where the proxy is not installed."""
        program = find(kind)
        if program is None:
            raise FileNotFoundError(f"{kind} or openssl is not installed")
        self.kind, self.port, self.log = kind, free_port(), directory / f"{kind}.log"
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate, self._key = directory / "images.pem", directory / "images.key"
        self._certify()
        write: Callable[[int], list[str]] = {"nginx": self._nginx, "caddy": self._caddy}[kind]
        environment = os.environ | {"HOME": str(directory), "XDG_DATA_HOME": str(directory)}
        environment |= {"XDG_CONFIG_HOME": str(directory)}
        with open(self.log, "ab") as output:
            self._process = subprocess.Popen(
                [program, *write(upstream)],
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            eventually(self._is_up_or_ended, what=f"{kind} listens")
            if self._process.poll() is not None:
                raise RuntimeError(f"{kind} ended at its start:\n{self.log.read_text()[-2000:]}")
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self.port}"

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def _is_up_or_ended(self) -> bool:
        if self._process.poll() is not None:
            return True
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _certify(self) -> None:
        subject = ("-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST}")
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
        files = ("-keyout", str(self._key), "-out", str(self.certificate))
        subprocess.run(["openssl", "req", "-x509", *curve, *subject, *files], check=True, capture_output=True)

    def _nginx(self, upstream: int) -> list[str]:
        block = replaced(configuration("nginx"), r"listen 443\b", f"listen 127.0.0.1:{self.port}")
        block = replaced(block, r"ssl_certificate +\S+;", f"ssl_certificate {self.certificate};")
        block = replaced(block, r"ssl_certificate_key +\S+;", f"ssl_certificate_key {self._key};")
        block = replaced(block, r"127\.0\.0\.1:5000\b", f"127.0.0.1:{upstream}")
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        folders = "".join(f"    {kind}_temp_path {self._directory / kind};\n" for kind in kinds)
        # As Debian's nginx.conf has it, but for the user: its workers are whoever started it.
        user = "user root;\n" if os.geteuid() == 0 else ""
        file = self._directory / "nginx.conf"
        file.write_text(
            f"{user}daemon off;\nworker_processes auto;\npid {self._directory / 'nginx.pid'};\n"
            f"error_log {self.log} warn;\nevents {{\n    worker_connections 768;\n}}\n"
            f"http {{\n    access_log off;\n{folders}\n{block}\n}}\n"
        )
        return ["-p", str(self._directory), "-c", str(file), "-e", str(self.log)]

    def _caddy(self, upstream: int) -> list[str]:
        options = f"{{\n    admin off\n    auto_https disable_redirects\n    storage file_system {self._directory}\n"
        block = replaced(configuration("caddy"), r"^\{\n", options)
        site = f"{HOST}:{self.port} {{\n    bind 127.0.0.1\n    tls {self.certificate} {self._key}\n"
        block = replaced(block, rf"(?m)^{re.escape(HOST)} \{{\n", site)
        block = replaced(block, r"127\.0\.0\.1:5000\b", f"127.0.0.1:{upstream}")
        if caddy_version() < (2, 7):
            # As the page says beside the block.
            block = replaced(block, r"request_buffers +14MiB", "buffer_requests\n        max_buffer_size 14MiB")
        file = self._directory / "Caddyfile"
        file.write_text(block)
        return ["run", "--config", str(file), "--adapter", "caddyfile"]
