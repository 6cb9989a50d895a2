"""What every test shares: one thread, the CPU, a cache of its own, and the way to the raw data."""

from __future__ import annotations

import gc
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

import budget
import caches
import pytest
import required

# Set before either framework is imported, and inherited by pytest-xdist's workers and by every child process.
caches.keep()
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of a JAX test is compiling; unoptimised code halves that. `make test-slow` tests optimised code too.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0")
os.environ.setdefault("MPLBACKEND", "agg")
# A shell lets its background jobs ignore Ctrl-C, and every child process would inherit that.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Triton decides when it is first imported, which PyTorch does too, whether its kernels are interpreted or compiled.
os.environ.setdefault("TRITON_INTERPRET", "1")

MANY_MAPPINGS = 25_000


class TorchBeforeJax(MetaPathFinder):
    """Imports PyTorch just before the first import of JAX, whoever asks for it, and neither before that.

    Each brings its own OpenMP and C++ runtime, and this order is the one that both are known to bear.
    """

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """Find nothing, ever: `jax` itself is left to the finders behind this one."""
        if fullname == "jax":
            sys.meta_path.remove(self)
            if find_spec("torch") is not None:
                import_module("torch")
        return None


class CompiledUnchecked(MetaPathFinder):
    """Keeps jaxtyping's import hook away from what numba or Triton compiles; they choke on its wrappers."""

    packages = ("attention_impls", "lra", "tasks")
    compiled = re.compile(rb"^(?:import|from) (?:numba|triton)\b", re.MULTILINE)

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: object = None) -> ModuleSpec | None:
        """The module as it is if it imports a compiler, else nothing, which leaves it to the hook."""
        if fullname.partition(".")[0] not in self.packages:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is None or spec.origin is None:
            return None
        return spec if self.compiled.search(Path(spec.origin).read_bytes()) else None


sys.meta_path[:0] = [TorchBeforeJax(), CompiledUnchecked()]


def pytest_configure(config: pytest.Config) -> None:
    """Measure every test, and ask which needs may not be lacking."""
    required.required()
    config.pluginmanager.register(budget)
    if not hasattr(config, "workerinput"):  # xdist's workers report to the process that started them
        config.pluginmanager.register(budget.Totals())


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is slow
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of real data or in a browser are slow; all tests of one variant follow each other, for one compilation."""
    for item in items:
        if {"raw", "browser"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")

    items.sort(key=lambda item: (item.path, budget.case(item)))


def pytest_collection_finish() -> None:
    """Spare the collector of cycles what stays to the end: thousands of tests, and the frameworks' modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def lra_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of prepared data, LRA_HOME: an empty one, so that no test reads or writes the user's."""
    from tasks.places import cache  # not before jaxtyping's hook is in place

    home = tmp_path_factory.mktemp("lra-home")
    if (compiled := cache("compiled")) is not None:  # it takes minutes, and is kept by a hash of the sources
        (home / "compiled").symlink_to(compiled.absolute())
    with pytest.MonkeyPatch.context() as patch:
        if "MPLCONFIGDIR" not in os.environ and (fonts := cache("matplotlib")):
            patch.setenv("MPLCONFIGDIR", str(fonts))
        patch.setenv("LRA_HOME", str(home))
        yield home


@pytest.fixture(scope="module", autouse=True)
def compiled_code_goes() -> Iterator[None]:
    """Drops what JAX has compiled before it takes all the mappings that Linux allows a process, 65,530, and crashes.

    Not after every module, as some compile the same.
    """
    yield
    mappings = Path("/proc/self/maps")
    if "jax" in sys.modules and mappings.exists() and mappings.read_bytes().count(b"\n") > MANY_MAPPINGS:
        sys.modules["jax"].clear_caches()


@pytest.fixture(scope="session")
def raw() -> Path:
    """The folder that holds the real raw data; without one the test is skipped and says so."""
    value = os.environ.get("LRA_RAW")
    if not value:
        required.lacking("data", "LRA_RAW is not set: name the folder that holds imdb, cifar10, aan and pathfinder")
    folder = Path(value).resolve()
    if not folder.is_dir():
        pytest.fail(f"LRA_RAW={value} is no folder: name one that exists, or unset it")
    return folder


@pytest.fixture(autouse=True)
def need_gpu(request: pytest.FixtureRequest) -> None:
    """Skip a test marked `gpu` where PyTorch sees no GPU."""
    if request.node.get_closest_marker("gpu") is None:
        return
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU that PyTorch can use")
