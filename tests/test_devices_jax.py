"""Several devices in JAX: eight that a CPU simulates share each batch."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from lra.core.environment import ROOT


@pytest.mark.slow
def test_any_number_of_devices_learns_what_one_does() -> None:
    pytest.importorskip("jax")
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    environment = {**os.environ, "XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "tests.devices_jax"]
    process = subprocess.run(line, capture_output=True, text=True, check=False, env=environment, cwd=ROOT, timeout=300)
    assert process.returncode == 0, process.stderr
    told = json.loads(process.stdout)
    alone = told.pop("alone")
    assert abs(alone[0] - alone[-1]) > 1e-3, "it learns"
    assert told.pop("moments") < 1e-4, "Adam would take the same steps if all gradients were twice as large"
    (loss, count, logits), (other, as_many, others) = told.pop("scored")
    assert (count, as_many) == (21, 21)
    np.testing.assert_allclose([other, *others], [loss, *logits], rtol=0, atol=1e-4)
    assert (told.pop("names"), told.pop("devices")) == (["cpu"] * 8, 8)
    lost, full = told.pop("failures")
    assert lost == "DeviceFailed: one of 8 devices failed: INTERNAL: a GPU fell off the bus"
    assert full == "JaxRuntimeError: RESOURCE_EXHAUSTED: out of memory"
    assert len(told) == 4
    for how, losses in told.items():
        np.testing.assert_allclose(losses, alone, rtol=0, atol=1e-5, err_msg=how)
