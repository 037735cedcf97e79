"""Every setting of every script, as one table: name, default, help. Read from the environment and from `.env`.

The environment wins over the file. A value that cannot work ends the script with 2 and names the setting.
docs/settings.md is generated from this table; each script's --help prints it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagequeue import casts, cpus
from imagequeue.errors import ConfigurationError

DOTENV = Path(__file__).with_name(".env")


def _setting(default: Any, cast: Callable[[str], Any], help: str, shown: str = "", *, is_secret: bool = False) -> Any:
    """One row of the table; `shown` describes a default that depends on the machine.

    is_secret: the value stands in no message and no representation.
    """
    return dataclasses.field(
        default_factory=default if callable(default) else lambda: default,
        repr=not is_secret,
        metadata={"cast": cast, "help": help, "shown": shown, "is_secret": is_secret},
    )


@dataclass(frozen=True)
class Settings:
    """The table. The environment's name of a row is its name in capitals."""

    redis_url: str = _setting(
        "redis://127.0.0.1:6379/0",
        casts.redis_url,
        "the Redis that all processes share; also rediss:// and unix://",
        is_secret=True,
    )
    image_queue: str = _setting("image_queue", casts.queue_name, "the waiting list's key in Redis")
    server_name: str = _setting(
        lambda: re.sub(r"[^\w.:-]", "-", socket.gethostname())[:100] or "server",
        casts.server_name,
        "this machine's name in every log line",
        shown="the host's name",
    )
    web_host: str = _setting("127.0.0.1", casts.text, "the address that the web server listens on")
    web_port: int = _setting(5000, casts.port, "its port; 0 for any free one")
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        casts.host_names,
        "names by which the web server may be asked for (the request's Host), commas between; `.example.org` for all "
        "below it, `*` for every one. Behind a proxy on this machine: the names that it passes on",
        shown="`localhost` and the like where WEB_HOST is one of them, else `*`",
    )
    root_path: str = _setting(
        "",
        casts.root_path,
        "the prefix of all its paths behind a proxy that passes it on, as `/images`; see docs/security.md",
    )
    web_processes: int = _setting(
        lambda: min(cpus.available(), 4),
        casts.count(1),
        "Gunicorn processes",
        shown="one for each processor, at most 4",
    )
    cors_origins: tuple[str, ...] = _setting(
        (),
        casts.origins,
        "whose pages may call the web server: `*`, or origins like `https://example.org`, separated by commas",
        shown="(none)",
    )
    web_threads: int = _setting(520, casts.count(9), "requests that one of them serves at the same time")
    request_timeout: float = _setting(30.0, casts.seconds(0.05), "seconds until a job's deadline: then 504")
    job_timeout: float = _setting(
        300.0,
        casts.seconds(0.05),
        "the same for a job sent with `Prefer: respond-async`: nobody holds a connection for it, so it may outwait a "
        "queue longer than REQUEST_TIMEOUT",
    )
    drain_seconds: float = _setting(
        1.0, casts.seconds(0), "how long /readyz fails before a web server that was told to end stops listening"
    )
    api_keys: tuple[tuple[str, str], ...] = _setting(
        (),
        casts.api_keys,
        "`name:key` or plain keys, commas between; without one of them 401. A client sees the jobs of its own "
        "name only; a name may have several keys",
        "(none)",
        is_secret=True,
    )
    api_admins: tuple[str, ...] = _setting(
        (), casts.names, "names of API_KEYS whose keys see everybody's jobs, and hosts and process ids", "(none)"
    )
    rate_limit: str = _setting(
        "",
        casts.rate,
        "images of one client, as 100/minute, by its key's name or its address (of IPv6 the /64); beyond it 429",
    )
    trusted_proxies: int = _setting(0, casts.count(0), "proxies in front that add to X-Forwarded-For")
    imagequeue_api_key: str = _setting("", casts.text, "the key that the two clients send", is_secret=True)
    poll_interval: float = _setting(1.0, casts.seconds(0.05), "seconds; the fallback behind pub/sub")
    max_queue_length: int | None = _setting(
        None,
        casts.auto_or_count,
        "images that may wait; beyond it 503, as beyond what the workers will compute in time. `auto`: 4096, 0.8 GB of "
        "Redis's memory",
        shown="auto",
    )
    max_queue_bytes: int = _setting(0, casts.count(0), "bytes that may wait in Redis; 0 for no such limit")
    max_upload_bytes: int = _setting(10 * 2**20, casts.count(1), "the largest image file, and the largest upload")
    max_image_pixels: int = _setting(50_000_000, casts.count(1), "width times height of the largest image")
    jpeg_decoding: str = _setting(
        "exact",
        casts.one_of("exact", "fast"),
        "`fast` decodes large JPEGs at a fraction of their size; labels may differ",
    )
    image_size: tuple[int, int] = _setting(
        (224, 224), casts.size, "the pixels that the model takes, as 224 or 320x240", shown="224"
    )
    model: str = _setting(
        "resnet50",
        casts.text,
        "an application of Keras, `efficientnet-lite0` (downloads nothing), a `.keras` file, or `null` (answers at "
        "once: the service's own cost)",
    )
    model_weights: str = _setting(
        "imagenet", casts.text, "`imagenet`, a file of weights, or `random` (speed only; said in every answer)"
    )
    model_labels: str = _setting("imagenet", casts.text, "ImageNet's, or a text file with one label a line")
    model_preprocessing: str = _setting(
        "auto",
        casts.text,
        "`auto` (an application's own; none for a file), `none`, or the application whose preprocessing to use",
    )
    model_threads: int = _setting(
        cpus.available, casts.count(1), "processors that one worker's model uses", shown="the cgroup's quota"
    )
    runtime: str = _setting(
        "auto",
        casts.one_of("auto", "tensorflow", "openvino"),
        "`auto`: TensorFlow on a GPU, else OpenVINO where it is installed, else TensorFlow",
    )
    precision: str = _setting(
        "float32",
        casts.one_of("float32", "bfloat16", "int8"),
        "bfloat16 and int8 are faster and change probabilities; docs/internals.md says how much",
    )
    calibration_images: str = _setting("", casts.text, "for int8: a folder of images such as the model will see")
    model_cache: Path | None = _setting(
        lambda: casts.cache_folder(os.environ),
        casts.folder,
        "a folder for OpenVINO's converted models, with which a worker's next start takes a third of the time; `none`: "
        "they are not kept. See docs/internals.md",
        shown="`~/.cache/imagequeue`",
    )
    max_batch_size: int | None = _setting(
        None, casts.auto_or_count, "images computed together; `auto` measures which size is best", shown="auto"
    )
    lease_seconds: float = _setting(
        15.0, casts.seconds(0.3), "how long a silent worker keeps its jobs; longer than its largest batch takes"
    )
    max_crashes: int = _setting(2, casts.count(1), "deaths of a worker after which the image it held is given up")
    # Delivered results are the tombstones that a repeated enqueue finds, for FORGET_AFTER in imagequeue/waiter.py.
    result_ttl: float = _setting(300.0, casts.seconds(10), "seconds that a result nobody fetched is kept")
    metrics_host: str = _setting("127.0.0.1", casts.text, "the address on which a worker answers Prometheus")
    metrics_port: int = _setting(
        0,
        casts.count(0),
        "its port, or the first free one of the 64 from there on; 0: a worker does not. See docs/monitoring.md",
    )
    result_cache_seconds: float = _setting(
        0.0, casts.seconds(0), "how long a web process answers equal images without computing them again; 0: not at all"
    )
    traces: bool = _setting(
        True, casts.switch, "1: the way of each job is kept for RESULT_TTL, at `/jobs/<id>/trace`", shown="1"
    )
    log_level: str = _setting(
        "info", casts.one_of("debug", "info", "warning", "error"), "debug, info, warning or error"
    )
    log_format: str = _setting("text", casts.one_of("text", "json"), "text or json")
    log_dir: str = _setting("", casts.text, "also append the log to one file for each script in this directory")
    log_redis: bool = _setting(
        False,
        casts.switch,
        "1: the lines of all servers gather in Redis too; `python logutil.py` shows them",
        shown="0",
    )

    @classmethod
    def load(cls, environment: Mapping[str, str] | None = None, dotenv: Path = DOTENV) -> Settings:
        """From the environment, then the file, then the defaults. Raises ConfigurationError, naming the setting."""
        given = given_by_user(environment, dotenv)
        values = {}
        for row in dataclasses.fields(cls):
            name = row.name.upper()
            if name not in given:
                continue
            try:
                values[row.name] = row.metadata["cast"](given[name])
            except ValueError as error:
                shown = "the value" if row.metadata["is_secret"] else repr(given[name])
                raise ConfigurationError(f"{name}: {shown} does not do. Expected: {error}.") from error
        settings = cls(**values)
        if set(settings.api_admins) - {name for name, _ in settings.api_keys}:
            raise ConfigurationError("API_ADMINS: a name that no key of API_KEYS has.")
        return settings


def given_by_user(environment: Mapping[str, str] | None = None, dotenv: Path = DOTENV) -> dict[str, str]:
    """What the environment and the file say, the environment first; an empty value is how a shell says "not set"."""
    given = {**_in_file(dotenv), **(os.environ if environment is None else environment)}
    return {name: value for name, value in given.items() if value}


def _in_file(dotenv: Path) -> dict[str, str]:
    if not dotenv.exists():
        return {}
    # Needed only for a file, so that `python -m imagequeue doctor` can read settings where nothing is installed yet.
    from dotenv import dotenv_values

    return {name: value for name, value in dotenv_values(dotenv, interpolate=False).items() if value is not None}


def table() -> list[tuple[str, str, str]]:
    """(name, default as people read it, help) of every setting, in order."""
    defaults = Settings()
    rows = []
    for row in dataclasses.fields(Settings):
        default = row.metadata["shown"] or str(getattr(defaults, row.name)) or "(none)"
        rows.append((row.name.upper(), default.removesuffix(".0"), row.metadata["help"]))
    return rows


def help_text() -> str:
    """The table for --help."""
    rows = table()
    wide = max(len(f"{name} [{default}]") for name, default, _ in rows)
    lines = [f"  {f'{name} [{default}]':<{wide}}  {text}" for name, default, text in rows]
    return "settings, from the environment or a .env file beside the scripts:\n" + "\n".join(lines)


def load_or_exit() -> Settings:
    """For scripts: the settings, or one line on standard error and the end with 2."""
    try:
        return Settings.load()
    except ConfigurationError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the log is configured from the settings that just failed
        raise SystemExit(2) from None
