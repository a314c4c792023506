"""Every mode of the rule ``speculative`` against the same mode by hand, on every engine."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hwtrain.cards import FixedCard, card
from hwtrain.config import make_config
from hwtrain.errors import ConfigError, HwtrainError, IncompatibleRule
from hwtrain.export.run import InterpretRunner, Memory, NativeRunner, Runner
from hwtrain.kernels.base import Rate
from hwtrain.nets.base import mlp
from hwtrain.program.cost import cost
from hwtrain.program.ir import Program, walk
from hwtrain.program.lower import lower
from hwtrain.program.schedule import handed_on, scheduled
from hwtrain.rules.base import Bound
from hwtrain.rules.speculative import Speculative
from hwtrain.training.trial import Spec, place
from tests.differential.speculative_oracle import Codes, Floats, Oracle
from tests.programs import O1, bound_on, differences, small_cnn

MODES: dict[str, dict[str, Any]] = {
    "sequential": {"mode": "sequential"},
    "speculative": {},
    "shadow": {"shadow": True},
    "corrected": {"shadow": True, "miss": "correct"},
    "warm": {"warm_up": 20},
    "sticky": {"store": "sticky"},
    "adaptive": {"hit_share": 0.4, "shadow": True},
    "prototypes": {"prototypes": 3, "shadow": True, "miss": "correct"},
    "delayed-reuse, adaptive, prototypes": {"mode": "delayed-reuse", "hit_share": 0.6, "prototypes": 2},
    "cross-entropy": {"distance": "cross-entropy"},
    "delayed": {"mode": "delayed"},
    "delayed-reuse": {"mode": "delayed-reuse"},
    "delayed-reuse by cross-entropy": {"mode": "delayed-reuse", "distance": "cross-entropy"},
    "fused-sweep": {"mode": "fused-sweep"},
    "neuron": {"mode": "neuron"},
    "lookahead": {"mode": "lookahead"},
}
DEFINED = {"fused-sweep": "sequential", "neuron": "sequential"}
"""Modes that are another one's arithmetic."""
LR = 0.125


def clusters(n: int, inputs: int, classes: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Samples between 0 and 1 about a centre for each class, half of the values 0."""
    rng = np.random.default_rng(seed)
    centres = rng.random((classes, inputs)) * (rng.random((classes, inputs)) < 0.6)
    labels = rng.integers(0, classes, n)
    x = np.clip(centres[labels] + 0.5 * rng.normal(size=(n, inputs)), 0, 1)
    return x * (rng.random((n, inputs)) < 0.8), labels.astype(np.int32)


def made(options: dict[str, Any], device: str, spec: str) -> tuple[Bound, Program]:
    """The rule on a net, and its program."""
    bound = bound_on(mlp(spec, "relu"), device, Speculative(**options))
    return bound, lower(bound, (int(spec.split("-")[0]),))


def oracle_of(options: dict[str, Any], device: str, program: Program) -> Oracle:
    """The same by hand, from the same weights."""
    found = card(device)
    numbers: Floats | Codes = Floats()
    kind: Any = np.float32
    if isinstance(found, FixedCard):
        signal = found.signal.bits, found.signal.frac, found.signal.error_frac
        numbers, kind = Codes(signal, (found.weight.bits, found.weight.frac)), np.int64
    paths = sorted({name.split(".")[0] for name in program.contents if name.startswith("fc")})
    net = []
    for path in paths:
        w, b = (program.contents[f"{path}.{name}/weights"] for name in ("weight", "bias"))
        w, b = (part[0] if program.buffers[f"{path}.weight/weights"].copies > 1 else part for part in (w, b))
        net.append((w[0].astype(kind).copy(), b[0, :, 0].astype(kind).copy()))
    mode = options.get("mode", "speculative")
    return Oracle(
        DEFINED.get(mode, mode),
        net,
        numbers,
        options.get("threshold", 0.25),
        options.get("distance", "l1"),
        options.get("store") == "sticky",
        options.get("miss") == "correct",
        options.get("warm_up", 0),
        options.get("hit_share", 0.0),
        options.get("prototypes", 1),
    )


def current(memory: Memory, program: Program, name: str) -> NDArray[Any]:
    """A buffer, or of two copies the current one."""
    values = memory[name]
    return values[int(memory["rule/turn"][0])] if program.buffers[name].copies > 1 else values


def run(runner: Runner, memory: Memory, n: int, first: int, lr: float = LR) -> NDArray[Any]:
    """n steps and a flush, as an engine would; the losses, what is owed among them."""
    runner.run("step", n, memory, lr=lr, step=first)
    losses = memory["loss"].reshape(-1).astype(np.float64)
    if "flush" not in runner.program.entries:
        return losses
    kept = {name: v for name, v in memory.items() if not runner.program.buffers[name].windowed}
    last = runner.memory(1, kept)
    runner.run("flush", 1, last, lr=lr, step=first + n)
    return np.append(losses, last["owed"].reshape(-1)) if "owed" in last else losses


def compare(
    options: dict[str, Any], device: str, spec: str, n: int, runners: list[Any], lr: float = LR
) -> Oracle:
    """Train by hand and on every engine; losses, weights and counts are equal to the bit."""
    bound, program = made(options, device, spec)
    oracle = oracle_of(options, device, program)
    inputs, classes = int(spec.split("-")[0]), int(spec.split("-")[-1])
    x, labels = clusters(n, inputs, classes)
    codes = bound.net.encode(torch.from_numpy(x).float()).numpy()
    kind = np.float32 if program.listing.numbers is None else np.int64
    losses = [
        oracle.step(v.astype(kind), int(c), lr, k) for k, (v, c) in enumerate(zip(codes, labels, strict=True))
    ]
    owed = oracle.flush(lr, n)
    expected = np.array([*losses, owed] if oracle.mode == "lookahead" else losses, np.float64)
    memories = []
    for make in runners:
        runner = make(program)
        memory = runner.memory(
            n, {"x": codes.reshape(n, 1, inputs).copy(), "labels": labels.reshape(n, 1).copy()}
        )
        assert np.array_equal(run(runner, memory, n, 0, lr), expected)
        for number, (w, b) in enumerate(oracle.net, start=1):
            assert np.array_equal(current(memory, program, f"fc{number}.weight/weights")[0], w)
            assert np.array_equal(current(memory, program, f"fc{number}.bias/weights")[0, :, 0], b)
        if "rule/counts" in memory:
            assert np.array_equal(memory["rule/counts"], oracle.counts)
        if "rule/limit" in memory:
            assert memory["rule/limit"][0] == oracle.moving
        memories.append(memory)
    first = oracle_of(options, device, program).net
    assert np.mean([(a[0] != b[0]).mean() for a, b in zip(first, oracle.net, strict=True)]) > 0.5
    assert all(not differences(memories[0], memory) for memory in memories[1:])
    return oracle


def c_o1(program: Program) -> Runner:
    return NativeRunner(program, flags=O1)


def assert_by_hand(name: str, device: str, n: int, runners: list[Any]) -> None:
    options = MODES[name] | {"threshold": 1.38 if "cross" in name else 0.15}
    oracle = compare(options, device, "12-9-7-4", n, runners)
    if oracle.trace:
        assert 0.1 < np.mean(oracle.trace) < 0.9, np.mean(oracle.trace)
        assert oracle.counts.sum() == n + oracle.counts[:, 3].sum()


@pytest.mark.parametrize("device", ["float32", "fixed16"])
@pytest.mark.parametrize("name", MODES)
def test_interpreter_does_each_mode_as_by_hand(name: str, device: str) -> None:
    if device == "float32" or "cross" not in name:
        assert_by_hand(name, device, 70, [InterpretRunner])


@pytest.mark.parametrize(("name", "device"), [("shadow", "fixed16"), ("lookahead", "float32")])
def test_c_does_two_modes_as_by_hand(name: str, device: str) -> None:
    assert_by_hand(name, device, 100, [c_o1])


@pytest.mark.parametrize("device", [pytest.param("fixed16", marks=pytest.mark.slow), "shift4"])
@pytest.mark.parametrize("name", MODES)
def test_torch_does_each_mode_as_its_program(name: str, device: str) -> None:
    if "cross" in name or (device == "shift4" and name == "lookahead"):
        return
    n = 20
    bound, program = made(MODES[name] | {"threshold": 0.3}, device, "12-9-7-4")
    x, labels = clusters(n, 12, 4)
    codes = bound.net.encode(torch.from_numpy(x).float())
    runner = InterpretRunner(program)
    memory = runner.memory(n, {"x": codes.numpy().reshape(n, 1, 12), "labels": labels.reshape(n, 1)})
    expected = run(runner, memory, n, 0)
    clock, losses = next(bound.net.arrays())[1].trial.ledger.clock, []
    for k in range(n):
        clock.step = k
        losses.append(bound.step(codes[k : k + 1], torch.from_numpy(labels[k : k + 1]).long(), Rate(LR)))
    clock.step = n
    owed = bound.flush(Rate(LR))
    found = torch.cat(losses if owed is None else [*losses, owed])
    assert np.array_equal(found.double().numpy(), expected)
    for path, array in bound.net.arrays():
        for key, tensor in array.live().items():
            assert np.array_equal(tensor.numpy(), memory[f"{path}/{key}"]), path
    for key, tensor in bound.live().items():
        assert f"rule/{key}" not in memory or np.array_equal(tensor.numpy(), memory[f"rule/{key}"]), key


@pytest.mark.parametrize("name", ["speculative", "shadow", "sticky"])
def test_threshold_below_zero_is_sequential_to_the_bit(name: str) -> None:
    n, memories = 40, []
    x, labels = clusters(n, 12, 4)
    for options in (MODES["sequential"], MODES[name] | {"threshold": -1.0}):
        bound, program = made(options, "float32", "12-9-7-4")
        runner = InterpretRunner(program)
        codes = bound.net.encode(torch.from_numpy(x).float()).numpy().reshape(n, 1, 12)
        memory = runner.memory(n, {"x": codes, "labels": labels.reshape(n, 1)})
        run(runner, memory, n, 0)
        names = [key for key in memory if key.endswith("/weights")]
        memories.append({"loss": memory["loss"]} | {key: current(memory, program, key) for key in names})
    assert not differences(*memories)


def test_a_shadow_changes_when_things_are_done_and_not_what() -> None:
    n, found = 40, []
    x, labels = clusters(n, 12, 4)
    for name in ("speculative", "shadow"):
        bound, program = made(MODES[name] | {"threshold": 0.08}, "shift4", "12-9-7-4")
        runner = InterpretRunner(program)
        codes = bound.net.encode(torch.from_numpy(x).float()).numpy().reshape(n, 1, 12)
        memory = runner.memory(n, {"x": codes, "labels": labels.reshape(n, 1)})
        run(runner, memory, n, 0)
        same = {
            key: current(memory, program, key) for key in memory if key.startswith(("fc", "loss", "rule/c"))
        }
        found.append(same)
        if name == "shadow":
            hits, misses = memory["taken0"]
            assert hits == memory["rule/counts"][:, 0].sum()
            assert misses == memory["rule/counts"][:, 1:3].sum()
            assert min(hits, misses) > n / 10
            reads = cost(program, "step", n, memory)
            assert reads["fc2.weight", "read_t"]["reads"] == n + misses  # each miss was worked out twice
            assert reads["fc2.weight", "propose"]["writes"] == n
            assert reads["fc2.weight", "write"]["writes"] == misses
    assert not differences(*found)


@pytest.mark.parametrize(
    ("options", "device", "said"),
    [
        ({"mode": "delaid"}, "float32", "rule_options: mode = 'delaid': Input should be"),
        ({"tau": "1"}, "float32", "rule_options: unknown key tau: known: distance"),
        ({"distance": "cross-entropy"}, "fixed16", "use l1 on this device"),
        ({"miss": "correct"}, "float32", "miss = correct corrects a shadow: add"),
        ({"warm_up": 5, "mode": "delayed"}, "float32", "warm_up: mode delayed has no use for it"),
        ({"shadow": True, "mode": "delayed"}, "float32", "shadow: mode delayed has no use for it"),
        ({"store": "sticky", "mode": "delayed-reuse"}, "float32", "store: mode delayed-reuse has no use"),
        ({"prototypes": 2, "mode": "neuron"}, "float32", "prototypes: mode neuron has no use for it"),
        ({"hit_share": 1.0}, "float32", r"rule_options: hit_share = 1\.0: Input should be less than 1"),
        ({"hit_share": 0.5, "mode": "lookahead"}, "float32", "hit_share: mode lookahead has no use"),
        ({"warm_up": -1}, "float32", "rule_options: warm_up = -1: Input should be greater"),
        ({"mode": "lookahead"}, "shift4", r"layer fc1\.weight: lookahead corrects"),
        ({"shadow": True}, "ideal-envm", r"fc1\.weight: speculative needs port propose, which its substrate"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options: dict[str, Any], device: str, said: str) -> None:
    with pytest.raises(HwtrainError, match=said):
        bound_on(mlp("12-9-4", "relu"), device, Speculative(**options))


def test_other_nets_than_chains_of_dense_layers_are_refused() -> None:
    with pytest.raises(IncompatibleRule, match="layer c1: rule speculative takes dense layers"):
        bound_on(small_cnn("float32"), "float32", Speculative())


@pytest.mark.parametrize("mode", ["delayed", "fused-sweep", "lookahead"])
def test_one_sample_a_step_and_no_more(mode: str) -> None:
    config = make_config(rule_options=f"mode={mode}", batch=2)
    with pytest.raises(ConfigError, match="takes 1 a step"):
        place(Spec("device", "speculative", "float32", 0, 0.1), config, mlp("8-6-3", "relu"))


BATCHES: dict[str, dict[str, Any]] = {
    "one engine": {},
    "shadow": {"shadow": True},
    "corrected": {"shadow": True, "miss": "correct", "prototypes": 2, "hit_share": 0.5},
}


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("corrected", "fixed16"),
        *(
            pytest.param(name, device, marks=pytest.mark.slow)
            for name in BATCHES
            for device in ("float32", "fixed16")
            if (name, device) != ("corrected", "fixed16")
        ),
    ],
)
def test_of_a_batch_the_misses_alone_are_done_again(name: str, device: str) -> None:
    """Every sample is held to what was kept before its batch."""
    n, batch = 80, 4
    options = BATCHES[name] | {"threshold": 0.05}
    bound = bound_on(mlp("12-9-7-4", "relu"), device, Speculative(**options))
    program = lower(bound, (12,), batch)
    oracle = oracle_of(options, device, program)
    x, labels = clusters(n, 12, 4)
    codes = bound.net.encode(torch.from_numpy(x).float()).numpy()
    kind = np.float32 if program.listing.numbers is None else np.int64
    for k, start in enumerate(range(0, n, batch)):
        part = slice(start, start + batch)
        oracle.batch(list(codes[part].astype(kind)), labels[part].tolist(), LR, k)
    given = {"x": codes.reshape(n // batch, batch, 12), "labels": labels.reshape(n // batch, batch)}
    memories = []
    for runner in (InterpretRunner(program), c_o1(program)):
        memory = runner.memory(n // batch, {key: value.copy() for key, value in given.items()})
        runner.run("step", n // batch, memory, lr=LR)
        memories.append(memory)
    assert not differences(*memories)
    for number, (w, b) in enumerate(oracle.net, start=1):
        assert np.array_equal(current(memories[0], program, f"fc{number}.weight/weights")[0], w)
        assert np.array_equal(current(memories[0], program, f"fc{number}.bias/weights")[0, :, 0], b)
    assert np.array_equal(memories[0]["rule/counts"], oracle.counts)
    assert 0.1 < np.mean(oracle.trace) < 0.9
    if name != "one engine":  # backward passes: one of the batch for the guess, one for each miss
        misses = n - sum(oracle.trace)
        reads = cost(program, "step", n // batch, memories[0])["fc2.weight", "read_t"]["reads"]
        assert reads == n + misses


@pytest.mark.slow
@pytest.mark.parametrize("device", ["float32", "fixed16", "fixed8"])
@pytest.mark.parametrize("name", MODES)
def test_c_does_each_mode_as_by_hand(name: str, device: str) -> None:
    if device == "float32" or "cross" not in name:
        assert_by_hand(name, device, 200, [InterpretRunner, c_o1, NativeRunner])


LARGE = ("784-128-10", "37-23-11-5")


@pytest.mark.slow
@pytest.mark.parametrize("spec", LARGE)
@pytest.mark.parametrize(
    ("name", "device"),
    [("shadow", "float32"), ("shadow", "fixed16"), ("lookahead", "float32"), ("neuron", "float32")],
)
def test_by_hand_is_c_is_c_on_threads_for_a_thousand_steps(name: str, device: str, spec: str) -> None:
    runners = [partial(NativeRunner, threads=threads) for threads in (1, 2, 4)]
    n = 1000 if device == "float32" or spec == LARGE[1] else 200  # by hand, a step of codes takes 50 ms
    oracle = compare(MODES[name] | {"threshold": 0.25}, device, spec, n, runners, lr=LR / 8)
    if oracle.trace:
        assert 0.1 < np.mean(oracle.trace) < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("spec", LARGE)
def test_three_modes_have_one_hash_on_every_compiler_and_team(spec: str) -> None:
    """Four threads on however many cores there are, twenty times."""
    inputs, classes, n = int(spec.split("-")[0]), int(spec.split("-")[-1]), 60
    x, labels = clusters(n, inputs, classes)
    hashes = set()
    for name in ("sequential", "fused-sweep", "neuron"):
        bound, program = made(MODES[name], "float32", spec)
        codes = bound.net.encode(torch.from_numpy(x).float()).numpy().reshape(n, 1, inputs)
        for cc in ("gcc", "clang"):
            for threads in (1, 2, 3, 4):
                runner = NativeRunner(program, threads=threads, cc=cc)
                for _ in range(20 if threads == 4 else 2):
                    memory = runner.memory(n, {"x": codes, "labels": labels.reshape(n, 1)})
                    run(runner, memory, n, 0)
                    kept = sorted(key for key in memory if key.endswith("/weights") or key == "loss")
                    hashes.add(hashlib.sha256(b"".join(memory[key].tobytes() for key in kept)).hexdigest())
    assert len(hashes) == 1


def test_a_team_of_threads_walks_through_the_same_bits() -> None:
    assert_by_hand("shadow", "float32", 60, [partial(NativeRunner, threads=2, flags=O1)])


def test_an_input_is_handed_on_from_sample_to_sample_and_from_call_to_call() -> None:
    n = 24
    bound, program = made(MODES["fused-sweep"], "float32", "12-9-7-4")
    assert list(handed_on(scheduled(program, 1))) == ["rule/signal0"]
    x, labels = clusters(n, 12, 4)
    codes = bound.net.encode(torch.from_numpy(x).float()).numpy().reshape(n, 1, 12)
    memories = []
    for runner, calls in ((InterpretRunner(program), (n,)), (c_o1(program), (1, 8, 1, 14))):
        kept: Memory = {}
        for first, count in zip(np.cumsum((0, *calls)), calls, strict=False):
            part = slice(int(first), int(first) + count)
            given = {"x": codes[part].copy(), "labels": labels[part].reshape(count, 1).copy()}
            memory = runner.memory(count, kept | given)
            runner.run("step", count, memory, lr=LR, step=int(first))
            kept = {name: v for name, v in memory.items() if not program.buffers[name].windowed}
        memories.append(kept)
    assert not differences(*memories)
    assert np.array_equal(memories[1]["rule/signal0"][0], codes[-1, 0])


def test_sweeps_are_found_and_their_rows_split() -> None:
    _, program = made(MODES["neuron"], "float32", "784-128-10")
    listing = scheduled(program, 3).listing
    (rows,) = (node for node in listing.entries["step"] if node.kind == "sections")
    assert [next(walk(body)).sizes()["out"] for body in rows.bodies] == [42, 43, 43]
    assert sum(call.kernel == "dense.sweep" for call in walk(listing.entries["step"])) == 6
    _, program = made(MODES["fused-sweep"], "float32", "784-128-10")
    assert [node.kind for node in scheduled(program, 3).entries["step"]].count("sections") == 0
    _, program = made(MODES["sequential"], "float32", "784-128-10")
    assert scheduled(program, 3) is program  # nothing is written before it is read
