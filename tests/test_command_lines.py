"""The command that a record or a message names is one that the program reads back as the same arguments."""

import shlex
from importlib import import_module

import pytest
import tyro

from lra.cli.main import TYPED
from lra.terminal.flags import command_line

GIVEN = {
    "bench": "--attn elfatt,softmax@local_conv=true --what train --as standard --task listops --backend torch,jax",
    "tune": "--task listops --attn elfatt,linear --backend torch,jax --share 0.5 --seeds 2",
    "sweep": "--task listops,text --attn elfatt --backend torch,jax --seeds 2 --minutes 3 --engine slurm",
}


@pytest.mark.parametrize("name", GIVEN)
def test_a_command_line_is_read_as_the_arguments_it_was_made_of(name: str) -> None:
    (verb,) = (each for each in TYPED if each.name == name)
    flags = getattr(import_module(verb.module), verb.flags)
    given = tyro.cli(flags, args=shlex.split(GIVEN[name]))
    words = shlex.split(command_line(name, given))
    assert words[:3] == ["python", "run_lra.py", name]
    assert tyro.cli(flags, args=words[3:]) == given
