"""Images that are made again instead of kept, and narrower gradients: fewer bytes, the same bits."""

from __future__ import annotations

import pytest

from hwtrain.cards import McuCard, card
from hwtrain.export.run import InterpretRunner, Memory, NativeRunner
from hwtrain.kernels import conv
from hwtrain.layers.dense import Dense
from hwtrain.layers.relu import Relu
from hwtrain.net import Net
from hwtrain.nets import resnet8
from hwtrain.program import lean as lean_module
from hwtrain.program.cycles import cost_of, machine
from hwtrain.program.ir import Buffer, Call, Program, Role
from hwtrain.program.lean import CONV_COLUMNS, lean
from hwtrain.program.lower import lower
from hwtrain.program.plan import alive
from hwtrain.program.recompute import LEAST_COLUMNS, narrower, recomputed, with_scratch_of
from tests.differential.test_lean import KEPT, PORTABLE, made
from tests.programs import bound_on, differences, moved, samples, trained

SHAPE = (3, 16, 16)


def kept(program: Program, monkeypatch: pytest.MonkeyPatch) -> Program:
    """In fewer bytes, but for what is made again."""
    with monkeypatch.context() as patch:
        patch.setattr(lean_module, "_again", lambda program: program)
        return lean(program)


def calls_of(program: Program) -> list[Call]:
    return [call for call in program.entries["step"] if isinstance(call, Call)]


def made_again(device: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> tuple[Program, Memory, Memory]:
    """Such a program, samples, and what the whole one learns of them."""
    bound = bound_on(resnet8.make(SHAPE, 4, Relu, 8), device)
    whole = lower(bound, SHAPE, batch)
    less = lean(whole)
    again = {call.kernel for call in calls_of(less) if _anew(call)}
    assert {"affine.scale", "affine.add", "relu.forward", "vector.add"} >= again > set()
    assert 10 * alive(less) <= 9 * alive(kept(whole, monkeypatch))
    given = samples(bound, whole, 2)
    expected = trained(NativeRunner(whole, flags=PORTABLE), given, 2)
    assert moved(whole, expected) > 0.4
    return less, given, expected


def test_what_is_made_again_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    less, given, expected = made_again("fp16", 1, monkeypatch)
    assert differences(trained(NativeRunner(less, flags=PORTABLE), given, 2), expected) == {}
    assert differences(trained(InterpretRunner(less), given, 2), expected) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("device", "batch"), [*zip(KEPT, (2, 1, 2, 1), strict=True)])
def test_every_way_of_learning_makes_again(device: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    less, given, expected = made_again(device, batch, monkeypatch)
    assert differences(trained(NativeRunner(less), given, 2), expected) == {}


@pytest.mark.parametrize("batch", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_gradient_in_fewer_columns_is_the_same(batch: int) -> None:
    bound = bound_on(resnet8.make(SHAPE, 4, Relu, 8), "fp16")
    whole = lower(bound, SHAPE, batch)
    less = lean(whole)
    calls, buffers = calls_of(less), dict(less.buffers)
    for place, call in enumerate(calls):
        while (smaller := narrower(calls[place])) is not None:
            calls[place], buffers = smaller, with_scratch_of(smaller, buffers)
        if call.kernel.startswith("conv.add_") and call.sizes()["in_"] > LEAST_COLUMNS:
            assert conv.columns_at_a_time(calls[place].sizes()) < 2 * LEAST_COLUMNS <= CONV_COLUMNS
    assert calls != calls_of(less)
    entries = less.entries | {"step": tuple(calls)}
    narrow = Program(less.listing.model_copy(update={"buffers": buffers, "entries": entries}), less.contents)
    given = samples(bound, whole, 2)
    expected = trained(NativeRunner(whole, flags=PORTABLE), given, 2)
    assert differences(trained(NativeRunner(narrow, flags=PORTABLE), given, 2), expected) == {}


def test_a_gradient_in_fewer_columns_is_reckoned_to_take_longer() -> None:
    program = lean(lower(bound_on(resnet8.make(SHAPE, 4, Relu, 8), "fp16"), SHAPE))
    gap9 = card("gap9")
    assert isinstance(gap9, McuCard)
    call = max(calls_of(program), key=lambda call: call.sizes().get("in_", 0) * (narrower(call) is not None))
    smaller = narrower(call)
    assert smaller is not None
    whole, narrow = (cost_of(program, one, machine(gap9, False)).issue for one in (call, smaller))
    assert whole < narrow < 1.5 * whole


def vectors(calls: list[Call]) -> dict[str, Buffer]:
    """Buffers of eight halves; of those named ``weights`` the values are kept."""
    names = {ref.buffer for call in calls for ref in (*call.reads(), *call.writes())}

    def buffer(name: str) -> Buffer:
        role: Role = "input" if name == "x" else "weight" if name == "weights" else "temp"
        return Buffer(shape=(8,), format="f16", role=role)

    return {name: buffer(name) for name in names}


WAITS = [
    made("relu.input_gradient", {"d": "x", "y": "x"}, "low"),
    made("vector.add", {"a": "low", "b": "weights"}, "high"),  # waits, though it could be made again
    made("vector.add", {"a": "high", "b": "low"}, "first"),
    made("sigmoid.forward", {"x": "first"}, "second"),
    made("vector.add", {"a": "second", "b": "first"}, "third"),  # here most is alive
    made("vector.add", {"a": "third", "b": "low"}, "fourth"),
    made("vector.add", {"a": "fourth", "b": "high"}, "fifth"),
    made("vector.add", {"a": "fifth", "b": "low"}, "sixth"),
]


def test_what_waits_is_made_again_before_it_is_read() -> None:
    calls, buffers = recomputed(WAITS, vectors(WAITS))
    assert [call.results[0].buffer for call in calls].index("high.again") == 6
    assert calls[6].tensors == WAITS[1].tensors
    assert [ref.buffer for ref in calls[7].reads()] == ["fourth", "high.again"]
    assert buffers["high.again"] == buffers["high"]
    assert [call for place, call in enumerate(calls) if place not in (6, 7)] == [*WAITS[:6], WAITS[7]]


def test_what_two_of_its_operands_are_made_from_is_made_again_once() -> None:
    below = [
        made("sigmoid.forward", {"x": "low"}, "c"),
        made("tanh.forward", {"x": "c"}, "a"),
        made("relu.forward", {"x": "c"}, "b"),
        made("vector.add", {"a": "a", "b": "b"}, "high"),
        made("vector.add", {"a": "high", "b": "low"}, "sum0"),
        *(made("relu.input_gradient", {"d": "x", "y": "x"}, f"part{k}") for k in range(4)),
        *(made("vector.add", {"a": f"sum{k}", "b": f"part{k}"}, f"sum{k + 1}") for k in range(4)),
    ]
    last = {"a": "sum4", "b": "high"}
    given = [
        WAITS[0],
        *below,
        made("vector.add", last, "x1"),
        made("vector.add", {"a": "x1", "b": "low"}, "x2"),
    ]
    calls, _ = recomputed(given, vectors(given))
    again = [call.kernel for call in calls if _anew(call)]
    assert again == ["sigmoid.forward", "tanh.forward", "relu.forward", "vector.add"]


def test_an_entry_without_temporaries_stays_as_it_is() -> None:
    program = lower(bound_on(Net({"fc": Dense(8, 4, bias=False)}), "fp16"), (8,))
    assert lean(program).entries["predict"] == program.entries["predict"]
    assert recomputed([], {}) == ([], {})


def test_nothing_is_made_again_of_what_has_changed_or_has_gone() -> None:
    changed = made("vector.add", {"a": "second", "b": "low"}, "weights")
    for calls in ([*WAITS[:4], changed, *WAITS[4:]], WAITS[:-1]):
        assert recomputed(calls, vectors(calls))[0] == calls


def _anew(call: Call) -> bool:
    return any(".again" in ref.buffer for ref in call.results)
