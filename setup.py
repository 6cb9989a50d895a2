"""What pyproject.toml cannot say: the values of the tasks and the published numbers go into the package `lra`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

SHIPPED = (
    "configs/*.yaml",
    "configs/sweeps/*.yaml",
    "results/published.yaml",
    "results/claims.yaml",
    "results/baselines.yaml",
)


class WithData(build_py):
    """Copies what lies beside the packages in a checkout into lra/data of a wheel."""

    def run(self) -> None:
        """Build as usual, then copy."""
        super().run()
        for source in () if self.editable_mode else (path for each in SHIPPED for path in sorted(Path().glob(each))):
            target = Path(self.build_lib, "lra", "data", source)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": WithData})
