"""The proxies in front of a service below a prefix, as docs/security.md configures them; test_front_proxies has them
without one.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.conftest import KINDS, redis_binary
from tests.support.pictures import picture
from tests.support.redisserver import RedisServer, free_port
from tests.support.system import ROOT, System, eventually

PAGE = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
NAME = "images.example.org"
PREFIX = "/images"
NGINX, NGINX_BELOW = re.findall(r"^```nginx\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CADDY, CADDY_BELOW = re.findall(r"^```caddy\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
INSIDE = ("metrics", "stats", "dashboard")
# Of these three, in their order.
SHOWN = re.compile(r'imagequeue_|"counters"|Latest answers')


def nginx_file(directory: Path, port: int, upstream: int) -> str:
    # As the page says: the rest as above.
    (rest,) = re.findall(r"proxy_pass http://127\.0\.0\.1:5000;\n(.*?)    }\n", NGINX, re.DOTALL)
    below = NGINX_BELOW.replace("# The rest as above.", rest)
    text = NGINX[: NGINX.index("    location ~")] + below + "}\n"
    text = re.sub(r" *ssl_certificate.*\n", "", text)
    text = re.sub(r"listen 443 ssl( http2)?", f"listen 127.0.0.1:{port}", text)
    places = "".join(
        f"{kind}_temp_path {directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{places}{text.replace('127.0.0.1:5000;', f'127.0.0.1:{upstream};')}}}\n"
    )


def caddy_file(port: int, upstream: int) -> str:
    text = CADDY[: CADDY.index("    @inside")] + CADDY_BELOW + "}\n"
    version = subprocess.run(["caddy", "version"], capture_output=True, text=True, check=True).stdout
    if re.match(r"v?2\.[0-6]\.", version):
        # Newer than this one.
        text = re.sub(r" *(#.*\n *)?request_buffers.*\n", "", text)
    text = text.replace("{\n", "{\n    admin off\n    auto_https off\n", 1)
    text = text.replace(f"{NAME} {{", f"http://{NAME}:{port} {{")
    return re.sub(r"127\.0\.0\.1:5000\b", f"127.0.0.1:{upstream}", text)


class Proxy:
    """nginx or Caddy before one web server."""

    def __init__(self, kind: str, directory: Path, upstream: str) -> None:
        self.port, self.log = free_port(), directory / f"{kind}.log"
        behind = int(upstream.rsplit(":", 1)[1])
        file = directory / ("nginx.conf" if kind == "nginx" else "Caddyfile")
        if kind == "nginx":
            file.write_text(nginx_file(directory, self.port, behind))
            command = ["nginx", "-c", str(file), "-p", str(directory)]
        else:
            file.write_text(caddy_file(self.port, behind))
            command = ["caddy", "run", "--config", str(file), "--adapter", "caddyfile"]
        with open(self.log, "ab") as output:
            places = {"HOME": str(directory), "XDG_DATA_HOME": str(directory), "XDG_CONFIG_HOME": str(directory)}
            self.process = subprocess.Popen(command, env={**os.environ, **places}, stdout=output, stderr=output)

    def ask(self, path: str, *, is_post: bool = False, **headers: str) -> requests.Response:
        headers = {"Host": f"{NAME}:{self.port}", **headers}
        url = f"http://127.0.0.1:{self.port}{path}"
        if is_post:
            return requests.post(url, data=picture(1), headers={"Content-Type": "image/png", **headers}, timeout=20)
        return requests.get(url, headers=headers, timeout=20)

    def is_up(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.ask(f"{PREFIX}/livez").status_code == 200
        except requests.RequestException:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    redis_server = RedisServer(redis_binary(KINDS[0] if KINDS else None)).start()
    settings = {"ALLOWED_HOSTS": NAME, "TRUSTED_PROXIES": 1, "ROOT_PATH": PREFIX}
    system = System(redis_server.url, tmp_path_factory.mktemp("system"), **settings).start()
    yield system
    system.stop()
    redis_server.remove()


@pytest.fixture(params=["nginx", "caddy"])
def proxy(request: pytest.FixtureRequest, system: System, tmp_path: Path) -> Iterator[Proxy]:
    if shutil.which(request.param) is None:
        pytest.skip(f"no {request.param} on the PATH")
    proxy = Proxy(request.param, tmp_path, system.url)
    try:
        eventually(proxy.is_up, 60, what=request.param)
        yield proxy
    finally:
        proxy.stop()


def test_behind_the_pages_proxies_everything_works_and_what_they_forbid_stays_forbidden(proxy: Proxy) -> None:
    page = proxy.ask(f"{PREFIX}/")
    assert page.status_code == 200
    for link in re.findall(r'(?:src|href)="(/[^"#]*)"', page.text):
        assert proxy.ask(link).status_code == (403 if link.endswith("dashboard") else 200), link
    assert proxy.ask(f"{PREFIX}/predict", is_post=True).json()["success"]
    accepted = proxy.ask(f"{PREFIX}/predict", is_post=True, Prefer="respond-async")
    assert accepted.headers["Location"].startswith(f"{PREFIX}/jobs/")
    assert proxy.ask(accepted.headers["Location"]).status_code == 200

    for name in INSIDE:
        assert proxy.ask(f"{PREFIX}/{name}").status_code == 403
        around = [
            *[(f"{before}/{name}", {"SCRIPT_NAME": before}) for before in ("/x", f"{PREFIX}/x", "/images")],
            (f"{PREFIX}/", {"PATH_INFO": f"/{name}"}),
            (f"{PREFIX}{PREFIX}/{name}", {}),
            (f"/x/{name}", {"X-Forwarded-Prefix": "/x"}),
        ]
        for path, headers in around:
            assert not SHOWN.search(proxy.ask(path, **headers).text), (path, headers)


def test_only_the_names_that_are_allowed_are_served(system: System) -> None:
    for host, status in ((NAME, 200), ("rebound.example", 421), ("127.0.0.1", 421)):
        answer = requests.get(f"{system.url}{PREFIX}/", headers={"Host": host}, timeout=20)
        assert answer.status_code == status, host
    assert requests.get(f"{system.url}/livez", headers={"Host": "10.0.0.7"}, timeout=20).status_code == 200
