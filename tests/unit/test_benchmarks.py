"""What the benchmarks share (benchmarks/_study.py)."""

import importlib.util
from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "benchmarks" / "_study.py"
PARTS = ("hwtrain/arith/fixed.py", "fpga/rtl/lane.sv", "devices/card.toml", "benchmarks/_study.py")


def test_what_a_study_kept_is_used_by_the_same_code_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("_study", SHARED)
    assert spec is not None
    assert spec.loader is not None
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    monkeypatch.setattr(study, "HERE", tmp_path / "benchmarks")
    more = tmp_path / "tests" / "nets.py"

    def folder() -> Path:
        study.work.cache_clear()
        found = study.work("modes", more)
        assert isinstance(found, Path)
        return found

    files = [*(tmp_path / name for name in (*PARTS, "benchmarks/modes.py")), more]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("0")
    seen = [folder()]
    other = tmp_path / "benchmarks" / "other.py"
    other.write_text("0")
    assert folder() == seen[0]
    for file in files:
        file.write_text("1")
        seen.append(folder())
    files[0].rename(files[0].with_name("float32.py"))
    seen.append(folder())
    assert len(set(seen)) == len(files) + 2
