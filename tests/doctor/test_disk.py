"""Folders with room, without it, and that cannot be written to."""

from __future__ import annotations

from pathlib import Path

from imagequeue.doctor import disk


def full(folder: Path) -> int:
    return 1_000_000


def roomy(folder: Path) -> int:
    return 10**12


def test_a_folder_with_room_is_good_also_before_it_is_made(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "yet"
    found = disk.check_model_cache(folder, roomy)
    assert (found.status, found.found) == ("ok", f"{folder}, 1000.0 GB free")
    assert not folder.parent.exists()
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_disk_without_room_is_a_warning_with_the_setting_that_names_another(tmp_path: Path) -> None:
    for found, setting in (
        (disk.check_model_cache(tmp_path, full), "MODEL_CACHE="),
        (disk.check_logs(str(tmp_path), full), "LOG_DIR="),
        (disk.check_temporary(full), "TMPDIR="),
        (disk.check_shared_memory(tmp_path, full), "mount -o remount"),
    ):
        assert found.status == "warning"
        assert "1 MB free" in found.found
        assert setting in found.fix


def test_what_cannot_be_written_to_fails_where_a_process_would_end_and_warns_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "a file"
    file.touch()
    found = disk.check_logs(str(file))
    assert found.status == "failed"
    assert "cannot be written to" in found.found
    assert "LOG_DIR=" in found.fix
    assert disk.check_model_cache(file).status == "warning"
    assert disk.check_logs("/proc/self/nothing").status == "failed"


def test_without_a_folder_there_is_nothing_to_check(tmp_path: Path) -> None:
    assert disk.check_model_cache(None).status == "ok"
    assert disk.check_logs("").status == "ok"
    assert disk.check_shared_memory(tmp_path / "shm").status == "ok"
