"""ELFATT, broken on purpose: a folder for each fault, which --attn takes, and what they share."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

from attention_impls.elfatt import torch_impl


def copy_of_elfatt() -> ModuleType:
    """ELFATT's PyTorch code as a module of its own: what is replaced in it stays whole in the product."""
    spec = spec_from_file_location("broken_elfatt", torch_impl.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def replace(module: ModuleType, name: str, value: object) -> None:
    """Put `value` in the place of something that the module has; without it nothing would be broken."""
    assert hasattr(module, name), f"elfatt's torch_impl has no {name} to break"
    setattr(module, name, value)
