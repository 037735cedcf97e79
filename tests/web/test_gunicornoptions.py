"""Gunicorn's options: none that a client could meet is left to a default, whatever the next version adds."""

from __future__ import annotations

import logging

import pytest
from gunicorn.config import KNOWN_SETTINGS, Config

from imagequeue.web.gunicornoptions import TOWARDS_CLIENTS
from imagequeue.web.server import GunicornLogger, SharedFlag, WebServer

# Sections of its table in which no option is about clients: logs, hooks, its own files and processes.
ELSEWHERE = {
    "Config File",
    "Logging",
    "Server Hooks",
    "Process Naming",
    "Dirty Arbiters",
    "Dirty Arbiter Hooks",
    "Control",
    "SSL",
}
# Nor are these: how processes start and whose they are, other worker classes, and what http_protocols switches off.
OTHERS = {
    *(
        "reload_engine",
        "reload_extra_files",
        "check_config",
        "print_config",
        "preload_app",
        "reuse_port",
        "chdir",
        "daemon",
    ),
    *(
        "raw_env",
        "pidfile",
        "worker_tmp_dir",
        "user",
        "group",
        "umask",
        "initgroups",
        "tmp_upload_dir",
        "pythonpath",
        "paste",
    ),
    *(
        "raw_paste_global_conf",
        "asgi_loop",
        "asgi_lifespan",
        "asgi_disconnect_grace_period",
        "websocket_max_message_size",
    ),
    *("root_path", "max_requests_jitter", "http2_max_concurrent_streams", "http2_initial_window_size"),
    *("http2_max_frame_size", "http2_max_header_list_size"),
}


@pytest.fixture
def config() -> Config:
    """As a server starts with it."""
    server = WebServer(
        lambda: None,  # type: ignore[arg-type, return-value]
        SharedFlag(),
        address="127.0.0.1:0",
        processes=1,
        threads=9,
        request_timeout=1.0,
        drain_seconds=0.0,
    )
    return server.cfg


def test_every_option_that_faces_a_client_is_set(config: Config) -> None:
    own = {"bind", "workers", "worker_class", "threads", "worker_connections", "graceful_timeout"}
    facing = {setting.name for setting in KNOWN_SETTINGS if setting.section not in ELSEWHERE} - OTHERS
    left = facing - set(TOWARDS_CLIENTS) - own
    assert not left, "new in Gunicorn: set them in gunicornoptions, or name them here"


def test_nothing_that_a_request_says_of_how_it_came_is_believed(config: Config) -> None:
    assert config.forwarder_headers == config.forwarded_allow_ips == config.proxy_allow_ips == []
    assert config.secure_scheme_headers == {}
    assert (config.header_map, config.proxy_protocol, config.protocol) == ("drop", "off", "http")


def test_files_go_out_by_the_sendfile_that_holds_each_once(config: Config) -> None:
    assert config.sendfile is True


def test_of_gunicorns_own_lines_a_few_a_second_are_written(config: Config, caplog: pytest.LogCaptureFixture) -> None:
    logger = GunicornLogger(config)
    with caplog.at_level(logging.INFO, "gunicorn.error"):
        for number in range(50):
            logger.error("Socket error processing request %s", number)
            try:
                raise OSError(number)
            except OSError:
                logger.exception("Error handling request")
        logger.info("Booting worker")
    messages = [record.getMessage() for record in caplog.records]
    assert sum("Socket error" in message for message in messages) == 5
    assert sum("Error handling" in message for message in messages) == 5
    assert all(record.exc_info for record in caplog.records if "Error handling" in record.getMessage())
    assert messages[-1] == "Booting worker"
