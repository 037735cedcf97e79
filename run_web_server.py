"""The web server: `python run_web_server.py`, or `gunicorn run_web_server:app`.

settings → logging → Gunicorn, whose processes each hold one Classifier. No TensorFlow in here. SIGTERM or Ctrl-C
fails /readyz first, then answers what was accepted, then ends.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from flask import Flask

import logutil
from imagequeue import cpus
from imagequeue.connections import without_secrets
from imagequeue.errors import ConfigurationError
from imagequeue.events import warn
from imagequeue.logstream import LogStream
from imagequeue.web.access import Access
from imagequeue.web.app import create_app
from imagequeue.web.classifier import Classifier
from imagequeue.web.decoding import seccomp
from imagequeue.web.decoding.pool import DecoderPool, decoders_for
from imagequeue.web.draining import SharedFlag
from imagequeue.web.guesses import RATE as GUESS_RATE
from imagequeue.web.guesses import Guesses
from imagequeue.web.hosts import ANY, Hosts, names_for
from imagequeue.web.keys import ApiKeys
from imagequeue.web.ratelimit import RateLimit
from imagequeue.web.server import WebServer
from imagequeue.web.shareddirectory import shared_directory
from settings import Settings, help_text, load_or_exit


def build_app(settings: Settings, draining: SharedFlag, hosts: Sequence[str]) -> Flask:
    """hosts: the names by which it may be asked for."""
    classifier = Classifier(
        redis_url=settings.redis_url,
        queue_name=settings.image_queue,
        result_ttl=settings.result_ttl,
        decoders=DecoderPool(
            decoders=decoders_for(cpus.available(), settings.web_processes),
            image_size=settings.image_size,
            max_upload_bytes=settings.max_upload_bytes,
            max_image_pixels=settings.max_image_pixels,
            is_fast=settings.jpeg_decoding == "fast",
        ),
        max_queue_length=settings.max_queue_length,
        max_queue_bytes=settings.max_queue_bytes,
        timeout=settings.request_timeout,
        job_timeout=settings.job_timeout,
        poll_interval=settings.poll_interval,
        cache_seconds=settings.result_cache_seconds,
        threads=settings.web_threads,
        is_draining=draining.is_set,
    )
    return create_app(
        classifier,
        build_access(settings),
        cors_origins=settings.cors_origins,
        samples_directory=Path(__file__).with_name("samples"),
        is_tracing=settings.traces,
        hosts=Hosts(hosts),
        root_path=settings.root_path,
    )


def build_access(settings: Settings) -> Access:
    def limit(rate: str) -> RateLimit:
        return RateLimit(rate, redis_url=settings.redis_url, queue_name=settings.image_queue)

    return Access(
        keys=ApiKeys(settings.api_keys, admins=settings.api_admins) if settings.api_keys else None,
        limit=limit(settings.rate_limit) if settings.rate_limit else None,
        guesses=Guesses(limit(GUESS_RATE)) if settings.api_keys else None,
        trusted_proxies=settings.trusted_proxies,
    )


def configure_logging(settings: Settings) -> None:
    logutil.configure(
        server=settings.server_name,
        level=settings.log_level,
        format=settings.log_format,
        directory=settings.log_dir,
        script="run_web_server.py",
        stream=LogStream(settings.redis_url, settings.image_queue) if settings.log_redis else None,
    )


def warn_of_missing_filter() -> None:
    """What then keeps a decoder that a file has taken over from starting programs; see docs/security.md."""
    if not seccomp.is_available():
        warn("decoders_not_filtered", reason="no seccomp here; RLIMIT_NPROC=0 instead, which does not bind root")


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, epilog=help_text(), formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    settings = load_or_exit()
    configure_logging(settings)
    # Gunicorn reads the command line, too.
    sys.argv[1:] = []
    draining = SharedFlag()
    host = f"[{settings.web_host}]" if ":" in settings.web_host else settings.web_host
    logutil.log("starting", redis=without_secrets(settings.redis_url), queue=settings.image_queue)
    warn_of_missing_filter()
    with shared_directory():
        WebServer(
            lambda: build_app(settings, draining, settings.allowed_hosts or names_for(settings.web_host)),
            draining,
            address=f"{host}:{settings.web_port}",
            processes=settings.web_processes,
            threads=settings.web_threads,
            request_timeout=settings.request_timeout,
            drain_seconds=settings.drain_seconds,
        ).run()


def __getattr__(name: str) -> Flask:
    """`app`, made when `gunicorn run_web_server:app` asks for it and not on import."""
    if name != "app":
        raise AttributeError(name)
    settings = load_or_exit()
    configure_logging(settings)
    warn_of_missing_filter()
    # Who starts Gunicorn says where it listens, not WEB_HOST.
    return build_app(settings, SharedFlag(), settings.allowed_hosts or (ANY,))


if __name__ == "__main__":
    try:
        main()
    except ConfigurationError as error:
        logutil.fail("configuration", reason=error.message)
        raise SystemExit(2) from None
