"""The architecture as a test: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "imagequeue"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = [ROOT / name for name in ("run_web_server.py", "run_model_server.py", "simple_request.py", "stress_test.py")]

# A job's way down, from the view to the model; nothing imports against it.
LAYERS = {
    "errors": 0,
    "download": 0,
    "torcharchive": 1,
    "imagenetlabels": 1,
    "efficientnetlite": 2,
    "events": 0,
    "plaintext": 0,
    "throttle": 1,
    "cgroup": 0,
    "cpus": 0,
    "job": 1,
    "formats": 0,
    "openers": 1,
    "images": 2,
    "connections": 1,
    "scripts": 1,
    "mending": 1,
    "backlog": 1,
    "latency": 0,
    "replies": 0,
    "jobqueue": 2,
    "doorbell": 3,
    "ticket": 0,
    "jobstate": 3,
    "waiter": 3,
    "writable": 3,
    "trace": 2,
    "tracestore": 3,
    "logroom": 2,
    "logstream": 2,
    "logview": 0,
    "casts": 0,
    "shortest": 0,
    "lease": 3,
    "overview": 3,
    "runtimes": 3,
    "kerashome": 0,
    "kerasmodel": 4,
    "graphstore": 4,
    "model": 5,
    "warmup": 6,
    "batch": 6,
    "batchlatency": 6,
    "worker": 6,
    "selfcheck": 6,
    "metrics": 4,
    "scrapeserver": 1,
    "workermetrics": 6,
    "faults": 5,
    "answers": 4,
    "client": 5,
    "stress": 6,
    "dead": 5,
    "fleet": 5,
    "web": 7,
    "doctor": 8,
    "__main__": 9,
}


def imports(file: Path) -> set[str]:
    """The dotted names of all modules that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def roots(file: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(file)}


def layer(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def importers(*roots_wanted: str) -> set[str]:
    return {layer(file) for file in MODULES if roots(file) & set(roots_wanted)}


def test_only_the_scripts_import_settings_and_logutil() -> None:
    # `python -m imagequeue.dead` is one, and so is `python -m imagequeue doctor`.
    assert importers("settings", "logutil") == {"dead", "doctor"}


def test_only_models_and_runtimes_import_keras_and_tensorflow() -> None:
    assert importers("keras", "tensorflow", "openvino", "jax") <= {"kerasmodel", "efficientnetlite", "runtimes"}


def test_only_web_imports_flask() -> None:
    assert importers("flask", "werkzeug") == {"web"}


def test_only_the_modules_that_talk_to_redis_import_it() -> None:
    talking = {"connections", "scripts", "jobqueue", "doorbell", "waiter", "logroom", "logstream", "doctor"}
    assert importers("redis") == talking


def test_only_metrics_and_web_import_prometheus() -> None:
    assert importers("prometheus_client") == {"metrics", "workermetrics", "web"}


def test_no_module_imports_against_a_jobs_way() -> None:
    for file in MODULES:
        if layer(file) == "__init__":
            continue
        for name in imports(file):
            if name.startswith("imagequeue.") and name.split(".")[1] in LAYERS:
                above, below = LAYERS[layer(file)], LAYERS[name.split(".")[1]]
                assert below <= above, f"{file.relative_to(ROOT)} imports {name}"


def test_every_module_has_its_place_in_the_layers() -> None:
    assert {layer(file) for file in MODULES} - {"__init__"} <= set(LAYERS)


def test_importing_does_nothing() -> None:
    """At the top of a module stand definitions and constants; no call whose only use is what it does."""
    for file in (*MODULES, *SCRIPTS, ROOT / "settings.py", ROOT / "logutil.py"):
        if not file.exists():
            continue
        for node in ast.parse(file.read_text()).body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            assert is_docstring or not isinstance(node, ast.Expr), f"{file.name}:{node.lineno} does something"


def test_no_file_of_the_package_is_longer_than_300_lines() -> None:
    for file in (*MODULES, *PACKAGE.rglob("*.lua"), *ROOT.glob("*.py")):
        assert len(file.read_text().splitlines()) <= 300, file.relative_to(ROOT)
