"""The command line as a user meets it: help, did-you-mean, replay, one line for every mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from lra.cli.main import main
from lra.core.environment import ROOT

RUN = [sys.executable, str(ROOT / "run_lra.py")]
SMOKE = ["--task", "listops", "--attn", "softmax", "--preset", "smoke", "--device", "cpu"]


def run(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*RUN, *words], capture_output=True, text=True, cwd=cwd, timeout=240, check=False)


def failure(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line with which a command refuses."""
    assert main(words) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_help_is_complete_fast_and_loads_no_framework() -> None:
    check = (
        "import sys\nsys.path.insert(0, sys.argv[1])\nfrom lra.cli.main import main\n"
        "try:\n    main(['--task', 'pathfinder', '--attn', 'elfatt', '--help'])\nexcept SystemExit:\n    pass\n"
        "import attention_impls, tasks\n"
        "heavy = {'torch', 'jax', 'flax', 'numba', 'matplotlib', 'scipy', 'jaxtyping', 'typeguard', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "ours = [name.split('.') for name in sys.modules if '.' in name]\n"
        "packages, mechanisms, named = ({word[1] for word in ours if word[0] == top} for top in "
        "('lra', 'attention_impls', 'tasks'))\n"
        "assert packages == {'cli', 'terminal', 'core'}, packages\n"
        "assert mechanisms & set(attention_impls.names()) == {'elfatt'}, mechanisms\n"
        "assert named & set(tasks.names()) == {'pathfinder'}, named\n"
        "assert len(sys.modules) < 600, len(sys.modules)  # some 450, which take half a second"
    )
    done = subprocess.run([sys.executable, "-c", check, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for flag in ("--task", "--attn", "--backend", "--preset", "--seed", "--device", "--results", "--resume", "--fresh"):
        assert flag in done.stdout
    for flag in ("--attn.block-size", "--attn.layout", "--train.batch-size", "--model.width", "--data.size"):
        assert flag in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "pathfnder", "--attn", "elfatt"], "did you mean 'pathfinder'"),
        (["--task", "listops", "--attn", "elfat"], "did you mean 'elfatt'"),
        (["--task", "listops", "--attn", "elfatt", "--preset", "quik"], "did you mean 'quick'"),
        (["--attn", "elfatt"], "--task is missing"),
        (["--task", "listops"], "--attn is missing"),
        (["lits"], "unknown command 'lits'"),
        ([*SMOKE, "--device", "mps"], "--device mps: expected cpu or gpu"),
        (["report", "--results=~nosuchuser/x"], "~nosuchuser/x: no user of that name has a home"),
        (["bench", "--device", "mps"], "--device mps: expected cpu or gpu"),
        (["data", "prepare"], "--task is missing"),
        (["data", "prepar", "--task", "listops"], "data prepare"),
        (["data", "list", "--task", "listops"], "data list takes no arguments"),
        (["check", "--cell", "nothing"], "has listops-elfatt-torch"),
        (["check", "--attn", "elfat"], "no cell of"),
        ([*SMOKE, "--resume", "--fresh"], "exclude each other"),
        ([*SMOKE, "--raw", "/nowhere/at/all"], "/nowhere/at/all does not exist"),
        ([*SMOKE, "--processes", "0"], "--processes is 0, expected at least 1"),
        ([*SMOKE, "--model.heads", "3"], "a divisor of model.width"),
        ([*SMOKE, "--model.vocabulary", "3"], "expected at least 16"),
        ([*SMOKE, "--train.warmup", "600"], "train.warmup is 600"),
        (["--config", "/nowhere.json"], "No such file"),
        ([*SMOKE[:2], "--attn", "elfatt", "--preset", "smoke", "--attn.block-size", "0"], "block_size"),
    ],
    ids=lambda value: " ".join(value)[-40:] if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in failure(capsys, *words)


@pytest.mark.parametrize("words", [["data", "list"], ["data", "show"], ["schema"]], ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_shows_its_usage(flag: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*words, flag])
    assert stop.value.code == 0
    assert f"usage: run_lra.py {' '.join(words)} [-h]" in capsys.readouterr().out


def test_an_unknown_option_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--task", "listops", "--attn", "elfatt", "--attn.blok-size", "64"])
    assert stop.value.code == 2
    assert "--attn.block-size" in capsys.readouterr().err


def test_a_number_with_thousands_of_digits_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--task", "listops", "--attn", "elfatt", "--devices", "9" * 5000])
    assert stop.value.code == 2
    assert "Error parsing --devices" in capsys.readouterr().err


def test_an_unknown_key_in_a_file_is_answered_with_the_nearest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*SMOKE, "--print-config"]) == 0
    values = yaml.safe_load(capsys.readouterr().out)
    values["train"]["stepz"] = 7
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(values))
    assert "unknown key 'stepz': did you mean 'steps'?" in failure(capsys, "--config", str(path))


def test_print_config_shows_every_override_and_reads_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--task", "pathfinder", "--attn", "elfatt", "--preset", "standard", "--attn.block-size", "64"]
    assert main([*words, "--train.batch-size", "8", "--seed", "3", "--attn.no-local-conv", "--print-config"]) == 0
    text = capsys.readouterr().out
    values = yaml.safe_load(text)
    assert (values["options"]["block_size"], values["options"]["local_conv"]) == (64, False)
    assert (values["train"]["batch_size"], values["seed"]) == (8, 3)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert main(["--config", str(path), "--print-config"]) == 0
    assert capsys.readouterr().out == text


def test_list_names_everything(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in ("listops", "pathfinder", "softmax", "elfatt", "linear", "efficient", "smoke", "quick", "standard"):
        assert name in text


@pytest.mark.slow
def test_a_run_from_another_directory_can_be_replayed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    done = run(*SMOKE, "--attn.local-conv", "--results", str(tmp_path / "one"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("listops (")
    first = json.loads(next((tmp_path / "one" / "runs").glob("*.json")).read_text())
    again = run(*first["command"].split()[2:], "--results", str(tmp_path / "two"), cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    second = json.loads(next((tmp_path / "two" / "runs").glob("*.json")).read_text())
    assert second["run_id"] == first["run_id"]
    assert second["curve"] == first["curve"]
    shown = run("--config", str(next((tmp_path / "one" / "runs").glob("*.json"))), "--print-config")
    assert yaml.safe_load(shown.stdout) == first["config"]


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_another_arithmetic_is_another_run(backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(backend)
    found = []
    for where, words in (("cpu", []), ("gpu", []), ("gpu", ["--train.precision", "bfloat16"])):
        if where == "gpu":  # as far as the configuration goes: what trains is the CPU
            monkeypatch.setattr("lra.backends.on_gpu", lambda name, device: True)
        results = tmp_path / str(len(found))
        assert main([*SMOKE, "--backend", backend, *words, "--results", str(results)]) == 0
        found.append(json.loads(next((results / "runs").glob("*.json")).read_text()))
    cpu, gpu, by_hand = found
    assert [each["config"]["train"]["precision"] for each in found] == ["auto", "bfloat16", "bfloat16"]
    assert [each["precision"].split()[0] for each in found] == ["float32", "bfloat16", "bfloat16"]
    assert cpu["run_id"] != gpu["run_id"] == by_hand["run_id"]


@pytest.mark.parametrize(("backend", "absent"), [("torch", ["jax", "flax", "optax"]), ("jax", ["torch"])])
@pytest.mark.slow
def test_one_framework_is_enough(backend: str, absent: list[str], tmp_path: Path) -> None:
    pytest.importorskip(backend)
    hide = (
        "import sys\nclass Absent:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {absent}:\n            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Absent())\n"
    )
    start = "from lra.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    words = [*SMOKE, "--backend", backend, "--results", str(tmp_path)]
    command = [sys.executable, "-c", hide + start, *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_several_mechanisms_under_one_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    words = ["--task", "listops", "--preset", "smoke", "--device", "cpu", "--results", str(tmp_path)]
    assert main([*words, "--attn", "linear,elfatt"]) == 0
    table = capfd.readouterr().out.rpartition("listops (")[2]
    assert re.findall(r"^│ ?(linear|elfatt)\b", table, re.MULTILINE) == ["linear", "elfatt"]
    assert len(list((tmp_path / "runs").glob("*.json"))) == 2


def test_several_mechanisms_are_all_read_before_the_first_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--task", "listops", "--preset", "smoke", "--results", str(tmp_path)]
    assert "did you mean 'elfatt'" in failure(capsys, *words, "--attn", "linear,elfat")
    assert "expected one: name one with --attn" in failure(capsys, *words, "--attn", "linear,elfatt", "--print-config")
    assert not list(tmp_path.iterdir())


def test_data_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--task", "listops", "--preset", "smoke", "--data.seed", "9"]
    assert main(["data", "prepare", *words]) == 0
    assert main(["data", "verify", *words]) == 0
    assert "are correct" in capsys.readouterr().out
    assert main(["data", "show", *words, "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert "is not prepared" in failure(capsys, "data", "show", "--task", "listops", "--data.train", "77")
    assert main(["data", "list"]) == 0
    assert "source: generated from seed 9" in capsys.readouterr().out


def test_count_limits_every_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "prepare", "--task", "listops", "--preset", "smoke", "--count", "60"]) == 0
    assert "60 train, 50 validation, 50 test" in capsys.readouterr().out
    assert "--count is 0, expected at least 1" in failure(
        capsys, "data", "prepare", "--task", "listops", "--count", "0"
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_kill_minus_nine_at_any_moment(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    words = ["--task", "listops", "--attn", "elfatt", "--preset", "smoke", "--device", "cpu", "--backend", backend]
    words += ["--train.steps", "120", "--train.evaluate-every", "20", "--train.chunk", "1"]
    assert run(*words, "--results", str(tmp_path / "whole")).returncode == 0
    cut = [*words, "--results", str(tmp_path / "cut")]
    fast = (
        "import sys, lra.training.loop; lra.training.loop.SNAPSHOT_SECONDS = 0; "
        "from lra.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    done, kills = 1, 0
    while done != 0:
        before = _snapshot_time(tmp_path / "cut")
        command = [sys.executable, "-c", fast, *cut, *(["--resume"] if before else [])]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        while kills < 4 and process.poll() is None and _snapshot_time(tmp_path / "cut") == before:
            time.sleep(0.01)
        if kills < 4 and process.poll() is None:
            time.sleep(0.05 * kills)
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
        done = process.wait(timeout=240)
    assert kills >= 2
    curves = [
        json.loads(next((tmp_path / each / "runs").glob("*.json")).read_text())["curve"] for each in ("whole", "cut")
    ]
    assert curves[0] == curves[1]


def _snapshot_time(results: Path) -> int:
    """When the run's snapshot was last replaced, 0 where there is none."""
    found = list(results.glob(".work/*/snapshot.safetensors"))
    return found[0].stat().st_mtime_ns if found else 0
