"""A net whose images are made some rows at a time makes the bits of the whole one, in NumPy and in C."""

from __future__ import annotations

from typing import Any

import pytest

from hwtrain.config import make_config
from hwtrain.export.run import InterpretRunner, NativeRunner
from hwtrain.layers.avg_pool2d import AvgPool2d
from hwtrain.layers.conv2d import Conv2d
from hwtrain.layers.dense import Dense
from hwtrain.layers.flatten import Flatten
from hwtrain.layers.relu import Relu
from hwtrain.net import Net, Residual
from hwtrain.nets import resnet8
from hwtrain.program import lean as lean_module
from hwtrain.program.ir import Program, walk
from hwtrain.program.lower import lower
from hwtrain.program.plan import alive
from hwtrain.training.trial import Spec, place
from tests.programs import O1, differences, moved, samples, trained

STILL = {"last": 2, "still": "true"}


def filters() -> Net:
    """Filters of all kinds: of 1, 9, 16 and 25 values, a stride of 3, without padding, by channel."""
    inner = {"c": Conv2d(4, 4, 5, padding=2, groups=2), "a": Relu(), "p": Conv2d(4, 4, 1)}
    return Net(
        {
            "c1": Conv2d(3, 4, 3, padding=2),
            "block": Residual(inner),
            "a": Relu(),
            "depth": Conv2d(4, 4, 4, stride=3, groups=4),
            "c2": Conv2d(4, 6, 3, padding=1),
            "pool": AvgPool2d(2),
            "flat": Flatten(),
            "fc": Dense(6 * 9, 4),
        }
    )


def compared(
    net: Net,
    side: int,
    batch: int,
    rows: int,
    options: dict[str, Any],
    smaller: bool = False,
    rule: str = "shallow",
) -> Program:
    config = make_config(rule=rule, device="fp16", rule_options=options, batch=batch)
    bound, _ = place(Spec("device", rule, "fp16", seed=0, lr=0.1), config, net)
    whole = lower(bound, (3, side, side), batch)
    images = lean_module._turned(whole)
    less = lean_module._laid(lean_module._in_strips(images, rows))
    for entry in ("step", "predict"):
        assert copies(less, entry) > 3
        assert not copies(images, entry)
    assert not smaller or alive(less) < alive(lean_module._laid(images))
    given = samples(bound, whole, 3)
    expected = trained(InterpretRunner(whole), given, 3)
    assert moved(whole, expected) > 0.01
    for runner in (InterpretRunner(less), NativeRunner(less, flags=O1)):
        assert differences(trained(runner, given, 3), expected) == {}
    return less


def copies(program: Program, entry: Any) -> int:
    return sum(call.kernel.startswith("strip.") for call in walk(program.entries[entry]))


def test_images_in_strips_are_the_same_numbers() -> None:
    compared(resnet8.make((3, 16, 16), 4, Relu, width=4), 16, 1, 4, STILL, smaller=True)


@pytest.mark.slow
@pytest.mark.parametrize("rows", [8, 4, 2])
@pytest.mark.parametrize("batch", [1, 2])
def test_strips_of_every_height(rows: int, batch: int) -> None:
    compared(resnet8.make((3, 16, 16), 4, Relu, width=4), 18, batch, rows, {"still": "true"})
    compared(filters(), 20, batch, rows, {})


def test_images_that_gradients_read_are_put_together() -> None:
    less = compared(filters(), 20, 1, 4, {}, rule="backprop")
    put = [call.results[0].buffer for call in walk(less.entries["step"]) if call.kernel == "strip.begin"]
    assert put
    read = {
        ref.buffer for call in walk(less.entries["step"]) if "add_to" in call.kernel for ref in call.reads()
    }
    assert set(put) <= read
