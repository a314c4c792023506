"""The emulators' physics against closed forms, conservation laws and solvers that share no code with them."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from hwtrain.physical.emulators.base import Emulator
from hwtrain.physical.emulators.cavity import goe
from hwtrain.physical.emulators.mesh import layout
from hwtrain.registry import lookup

F64 = torch.float64


def normals(seed: int = 0) -> Any:
    draw = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=draw, dtype=F64)


def make(name: str, in_: int, out: int, seed: int = 0, **params: Any) -> Any:
    kind = lookup("emulators", name)
    return kind(kind.Params(**params), in_, out, normals(seed), F64)


def inputs(n: int, in_: int, seed: int = 9) -> Tensor:
    return normals(seed)(n, in_)


MODULUS = {"detection": "modulus"}
PARAMS: dict[str, dict[str, Any]] = {
    "fibre": {"modulation": "amplitude", **MODULUS},
    "random-projection": {},
    "cavity": {"modes": 40, **MODULUS},
    "programmable-cavity": {"modes": 40, "pixel": 1.0, **MODULUS},
    "mesh": {"layout": "clements"},
    "diffractive": {
        "planes": 2,
        "wavelength_m": 1e-6,
        "pitch_m": 4e-6,
        "distance_m": 1e-4,
        **MODULUS,
    },
    "saturable-absorber": {"depth": 0.5, "saturation": 1.0},
    "oscillators": {"coupling": 0.5, "duffing": 0.5, "time": 2.0, "steps": 20},
    "resistor-network": {"hidden": 3, "cubic": 0.5},
}


def test_the_parameters_here_are_those_of_every_emulator() -> None:
    from hwtrain.registry import names

    assert set(names("emulators")) == set(PARAMS)
    assert len(PARAMS) >= 9


@pytest.mark.parametrize("name", PARAMS)
def test_a_response_is_a_pure_function_of_each_sample(name: str) -> None:
    made: Emulator = make(name, 6, 6, **PARAMS[name])
    x = inputs(5, 6)
    y = made.respond(x, made.controls)
    assert y.shape == (5, 6)
    assert y.isfinite().all()
    assert torch.equal(y, made.respond(x, made.controls))
    alone = torch.cat([made.respond(one[None], made.controls) for one in x])
    torch.testing.assert_close(alone, y, rtol=1e-10, atol=1e-10)
    other: Emulator = make(name, 6, 6, seed=1, **PARAMS[name])
    if name != "saturable-absorber":  # without a spread all of them are the same
        assert not torch.allclose(other.respond(x, other.controls), y)


@pytest.mark.parametrize("name", PARAMS)
def test_every_disturbance_grows_with_its_strength_and_comes_back_from_a_checkpoint(name: str) -> None:
    params = PARAMS[name] | ({"spread": 0.2} if name == "saturable-absorber" else {})
    x = inputs(20, 6)
    for kind in lookup("emulators", name).disturbances:
        far = []
        for strength in (0.0, 0.01, 0.3):
            made: Emulator = make(name, 6, 6, **params)
            before = made.respond(x, made.controls)
            made.disturb(kind, strength, normals(5))
            after = made.respond(x, made.controls)
            far.append(float((after - before).abs().mean()))
            other: Emulator = make(name, 6, 6, **params)
            other.restore(made.hidden())
            assert torch.equal(other.respond(x, other.controls), after)
        assert far[0] < 1e-12, kind
        assert far[2] > 0
        assert far[1] < far[2] or kind == "swap"


@pytest.mark.parametrize(
    "name", [name for name in PARAMS if make(name, 6, 6, **PARAMS[name]).controls.numel()]
)
def test_controls_change_the_response(name: str) -> None:
    made: Emulator = make(name, 6, 6, **PARAMS[name])
    x = inputs(5, 6)
    first = made.controls.clone()
    y = made.respond(x, made.controls)
    assert not torch.allclose(made.respond(x, first * 1.1 + 0.1), y)
    assert torch.equal(made.respond(x, first), y)


# --- transmission matrices ---


def test_fibre_and_projection_are_the_matrix_and_the_detector() -> None:
    x = inputs(4, 6)
    for seen, power in (("modulus", 1), ("intensity", 2)):
        made = make("fibre", 6, 5, modulation="amplitude", detection=seen)
        np.testing.assert_allclose(
            made.respond(x, made.controls), np.abs(x.numpy() @ made.T.numpy().T) ** power, rtol=1e-12
        )
    made = make("fibre", 6, 5, modulation="phase", detection="homodyne", reference=2.0)
    expected = (np.exp(1j * np.pi * x.numpy()) @ made.T.numpy().T).real + 2
    np.testing.assert_allclose(made.respond(x, made.controls), expected, rtol=1e-12)
    made = make("random-projection", 6, 5, exponent=1)
    np.testing.assert_allclose(
        made.respond(x, made.controls), np.abs(x.numpy() @ made.H.numpy().T), rtol=1e-12
    )


def test_fibre_loses_modes_and_has_grains_as_asked() -> None:
    made = make("fibre", 40, 60, modulation="amplitude", mode_loss_dB=20.0, **MODULUS)
    values = np.linalg.svd(made.T.numpy(), compute_uv=False)
    assert values[0] / values[-1] == pytest.approx(10, rel=1e-9)
    lossless = make("fibre", 40, 60, modulation="amplitude", **MODULUS)
    assert np.linalg.norm(made.T.numpy()) == pytest.approx(np.linalg.norm(lossless.T.numpy()), rel=1e-9)
    plain = make("fibre", 400, 60, modulation="amplitude", **MODULUS).T.numpy()
    assert np.linalg.norm(plain) ** 2 == pytest.approx(60, rel=0.05)  # |Tx| of |x|^2 = in_ has mean square 1
    grained = make("fibre", 400, 60, modulation="amplitude", grain_outputs=2.0, **MODULUS).T.numpy()

    def neighbours(t: np.ndarray) -> float:
        return float(np.abs(np.vdot(t[20], t[21])) / np.linalg.norm(t[20]) / np.linalg.norm(t[21]))

    assert neighbours(plain) < 0.2
    assert neighbours(grained) > 0.8
    assert np.linalg.norm(grained) == pytest.approx(np.linalg.norm(plain), rel=0.05)


def test_a_drift_keeps_the_share_of_the_matrix_that_it_says() -> None:
    made = make("fibre", 100, 100, modulation="amplitude", **MODULUS)
    before = made.T.numpy().copy()
    made.disturb("drift", 0.01, normals(3))
    kept = np.vdot(before, made.T.numpy()).real / np.vdot(before, before).real
    assert kept == pytest.approx(0.99, abs=0.003)
    assert np.linalg.norm(made.T.numpy()) == pytest.approx(np.linalg.norm(before), rel=0.02)
    made.disturb("drift", 0.5, normals(4))  # half of what is left, and still as much light
    kept = np.vdot(before, made.T.numpy()).real / np.vdot(before, before).real
    assert kept == pytest.approx(0.495, abs=0.02)
    assert np.linalg.norm(made.T.numpy()) == pytest.approx(np.linalg.norm(before), rel=0.02)


@pytest.mark.parametrize("exponent", [1, 2])
def test_projection_tends_to_its_kernel(exponent: int) -> None:
    """At 10^4 features; of the intensity, a fourth moment with a relative error of 4 % there, 8 specimens."""
    x, found = inputs(6, 8), np.zeros((6, 6))
    specimens = 8 if exponent == 2 else 1
    for seed in range(specimens):
        made = make("random-projection", 8, 10_000, seed=seed, exponent=exponent)
        y = made.respond(x, made.controls).numpy()
        found += y @ y.T / 10_000 / specimens
    u = x.numpy() / math.sqrt(8)
    norm = np.linalg.norm(u, axis=1)
    product = np.outer(norm, norm)
    cosine = np.clip(u @ u.T / product, -1, 1)
    if exponent == 2:
        expected = product**2 * (1 + cosine**2)
    else:
        expected = product * np.pi / 4 * scipy.special.hyp2f1(-0.5, -0.5, 1, cosine**2)
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.02


# --- cavities ---


def test_scattering_matrix_is_symmetric_and_unitary_without_absorption() -> None:
    s = make("cavity", 5, 6, modes=60, **MODULUS).scattering().numpy()
    assert np.abs(s - s.T).max() < 1e-12
    assert np.abs(s.conj().T @ s - np.eye(11)).max() < 1e-12
    lossy = make("cavity", 5, 6, modes=60, absorption=0.1, **MODULUS).scattering().numpy()
    assert np.abs(lossy - lossy.T).max() < 1e-12
    assert np.linalg.svd(lossy, compute_uv=False).max() < 1 - 1e-3


def test_cavity_is_the_heidelberg_form_behind_its_source() -> None:
    params = {"coupling": 0.7, "absorption": 0.1, "energy": 0.2, "quadratic": 0.3, "cubic": -0.2}
    made = make("cavity", 4, 3, modes=30, **params, detection="intensity")
    x, h, w = inputs(5, 4).numpy(), made.H.numpy(), made.W.numpy()
    np.testing.assert_allclose(w.T @ w, np.eye(7) * 0.7 / (2 * np.pi), atol=1e-12)
    inverse = np.linalg.inv((0.2 + 0.05j) * np.eye(30) - h + 1j * np.pi * w @ w.T)
    s = np.eye(7) - 2j * np.pi * w.T @ inverse @ w
    e = x + 0.3 * x**2 - 0.2 * x**3
    found = made.respond(torch.from_numpy(x), made.controls)
    np.testing.assert_allclose(found, np.abs(e @ s[4:, :4].T) ** 2, rtol=1e-9)


def test_a_port_of_coupling_1_reflects_nothing_on_average() -> None:
    """Over specimens the mean of S vanishes at perfect coupling, and does not at weak coupling."""

    def mean(coupling: float) -> float:
        found = [
            make("cavity", 2, 2, seed=s, modes=60, coupling=coupling, **MODULUS).scattering()
            for s in range(60)
        ]
        return float(torch.stack(found).mean(0).diagonal().abs().mean())

    assert mean(1.0) < 0.15
    assert mean(0.05) > 0.6


def test_levels_of_the_hamiltonian_repel_as_those_of_the_goe() -> None:
    """Mean ratio of neighbouring spacings: 0.5307 for the GOE, 0.3863 for levels at random."""
    ratios = []
    draw = normals(2)
    for _ in range(40):
        levels = np.linalg.eigvalsh(goe(draw, 100).numpy())
        assert levels[0] == pytest.approx(-1, abs=0.15)
        assert levels[-1] == pytest.approx(1, abs=0.15)
        gaps = np.diff(levels[25:75])
        ratios += (np.minimum(gaps[:-1], gaps[1:]) / np.maximum(gaps[:-1], gaps[1:])).tolist()
    assert np.mean(ratios) == pytest.approx(0.5307, abs=0.02)


def test_level_spacings_follow_wigners_surmise() -> None:
    draw, spacings = normals(4), []
    for _ in range(60):
        gaps = np.diff(np.linalg.eigvalsh(goe(draw, 100).numpy())[40:60])
        spacings += (gaps / gaps.mean()).tolist()
    found = scipy.stats.kstest(spacings, lambda s: 1 - np.exp(-np.pi * np.asarray(s) ** 2 / 4))
    assert found.statistic < 0.05
    assert scipy.stats.kstest(spacings, "expon").statistic > 0.15


def test_programmable_cavity_is_the_room_with_its_pixels_solved_whole() -> None:
    made = make("programmable-cavity", 4, 3, modes=30, pixel=1.5, absorption=0.05, detection="intensity")
    x = inputs(3, 4).abs()
    h, w, d = made.H.numpy(), made.W.numpy(), made.D.numpy()
    np.testing.assert_allclose(w.T @ w, np.eye(4) / (2 * np.pi), atol=1e-12)
    np.testing.assert_allclose((d**2).sum(0), 1.5)
    for sample, found in zip(x.numpy(), made.respond(x, made.controls).numpy(), strict=True):
        room = h + (d * sample) @ d.T
        inverse = np.linalg.inv(0.025j * np.eye(30) - room + 1j * np.pi * w @ w.T)
        s = np.eye(4) - 2j * np.pi * w.T @ inverse @ w
        np.testing.assert_allclose(found, 3 * np.abs(s[1:, 0]) ** 2, rtol=1e-9)


# --- light in planes and waveguides ---


@pytest.mark.parametrize("name", ["clements", "reck"])
@pytest.mark.parametrize("width", [2, 5, 6])
def test_mesh_is_unitary(name: str, width: int) -> None:
    errors = {"phase_error_rad": 0.05, "splitter_error_rad": 0.05, "crosstalk": 0.02, "dac_bits": 6}
    made = make("mesh", width, width, layout=name, **errors)
    assert made.blocks == width * (width - 1) // 2
    u = made.matrix(made.controls).numpy()
    assert np.abs(u.conj().T @ u - np.eye(width)).max() < 1e-12
    lossy = make("mesh", width, width, layout=name, loss_dB=0.5)
    u = lossy.matrix(lossy.controls).numpy()
    assert np.linalg.svd(u, compute_uv=False).max() < 1


@pytest.mark.parametrize("driven", [{}, {"crosstalk": 0.02}, {"dac_bits": 5}])
def test_mesh_is_the_product_of_its_blocks(driven: dict[str, Any]) -> None:
    """By dense matrices of the textbook's block, one after another."""
    made = make(
        "mesh", 4, 4, layout="clements", splitter_error_rad=0.1, phase_error_rad=0.1, loss_dB=0.3, **driven
    )
    phase = made.controls.numpy().copy()
    if driven.get("dac_bits"):
        phase = np.round(phase * 32 / (2 * np.pi)) * (2 * np.pi / 32)
    if driven.get("crosstalk"):
        # columns of the rectangle hold two blocks and one by turns: theta, then phi, then the ends
        heaters = ((0, 1), (2,), (3, 4), (5,), (6, 7), (8,), (9, 10), (11,), (12, 13, 14, 15))
        near = [
            [abs(i - k) == 1 and any({i, k} <= set(g) for g in heaters) for k in range(16)] for i in range(16)
        ]
        phase = phase + 0.02 * np.array(near) @ phase
    phase = phase + made.error.numpy()
    theta, phi, last = np.split(phase, [6, 12])
    u = np.eye(4, dtype=complex)
    block = 0
    for column in layout("clements", 4):
        for top in column:

            def splitter(angle: float) -> np.ndarray:
                return np.array([[np.cos(angle), 1j * np.sin(angle)], [1j * np.sin(angle), np.cos(angle)]])

            first, second = made.splitters[:, block].numpy()
            small = splitter(second) @ np.diag([np.exp(1j * theta[block]), 1]) @ splitter(first)
            whole = np.eye(4, dtype=complex)
            whole[top : top + 2, top : top + 2] = (
                10 ** (-0.3 / 20) * small @ np.diag([np.exp(1j * phi[block]), 1])
            )
            u = whole @ u
            block += 1
    u = np.diag(np.exp(1j * last)) @ u
    np.testing.assert_allclose(made.matrix(made.controls).numpy(), u, atol=1e-13)
    x, d = inputs(3, 4), inputs(3, 4, 1)
    np.testing.assert_allclose(made.respond(x, made.controls), x.numpy() @ u.T.real, atol=1e-13)
    np.testing.assert_allclose(made.respond_t(d, made.controls), d.numpy() @ u.real, atol=1e-13)
    np.testing.assert_allclose(
        made.run_back(d.to(torch.complex128), made.controls)[0], d.numpy() @ u, atol=1e-13
    )


def test_errors_have_the_spread_that_is_asked_for() -> None:
    mesh = make("mesh", 40, 40, layout="clements", phase_error_rad=0.1, splitter_error_rad=0.05)
    assert float(mesh.error.std()) == pytest.approx(0.1, rel=0.1)
    assert float((mesh.splitters - math.pi / 4).std()) == pytest.approx(0.05, rel=0.1)
    assert float((mesh.splitters - math.pi / 4).mean()) == pytest.approx(0, abs=0.005)
    planes = make("diffractive", 4, 4, **PARAMS["diffractive"] | {"planes": 32, "misalignment_px": 0.3})
    assert float(planes.shift.std()) == pytest.approx(0.3, rel=0.3)
    springs = make("oscillators", 60, 60, coupling=0.5, spread=0.2, time=1.0, steps=2)
    assert float(springs.controls.std()) == pytest.approx(0.2, rel=0.3)
    assert float(springs.J.norm(dim=1).mean()) == pytest.approx(0.5, rel=0.1)
    wires = make("resistor-network", 6, 6, hidden=6, spread=0.4)
    assert float(wires.controls.log().std()) == pytest.approx(0.4, rel=0.2)


def test_a_mesh_can_take_any_bits_and_warms_its_neighbours() -> None:
    plain = make("mesh", 4, 4, layout="clements")
    fine = make("mesh", 4, 4, layout="clements", dac_bits=16)
    coarse = make("mesh", 4, 4, layout="clements", dac_bits=2)
    warm = make("mesh", 4, 4, layout="clements", crosstalk=0.01)
    u = plain.matrix(plain.controls)
    far = [float((m.matrix(plain.controls) - u).abs().max()) for m in (fine, coarse, warm)]
    assert 0 < far[0] < 1e-3 < far[2] < far[1]


def test_intensities_inside_a_mesh_give_the_gradient_of_autograd() -> None:
    made = make("mesh", 5, 4, layout="clements", phase_error_rad=0.1, splitter_error_rad=0.05)
    x, d = inputs(7, 5), inputs(7, 4, 1)
    forward, backward, both = made.taps(x, d, made.controls)
    found = -(both - forward - backward).sum(0) / 2
    controls = made.controls.clone().requires_grad_()
    (expected,) = torch.autograd.grad((made.respond(x, controls) * d).sum(), controls)
    assert float((found - expected).norm() / expected.norm()) < 1e-6
    assert float(expected.norm()) > 0.1


def test_free_space_keeps_the_power_of_waves_that_travel() -> None:
    made = make("diffractive", 16, 16, **PARAMS["diffractive"])
    field = torch.complex(inputs(3, 64, 1), inputs(3, 64, 2)).view(3, 8, 8)
    far = made.propagate(field)
    assert float((far.abs() ** 2).sum()) == pytest.approx(float((field.abs() ** 2).sum()), rel=1e-12)
    near = make("diffractive", 16, 16, **PARAMS["diffractive"] | {"pitch_m": 0.4e-6})
    assert float((near.propagate(field).abs() ** 2).sum()) < float((field.abs() ** 2).sum())  # evanescent


def test_free_space_is_a_plane_waves_phase() -> None:
    made = make("diffractive", 16, 16, **PARAMS["diffractive"])
    at = np.arange(8) * 4e-6
    f = 2 / (8 * 4e-6)
    wave = np.exp(2j * np.pi * f * at)[:, None] * np.ones(8)
    expected = wave * np.exp(2j * np.pi * 1e-4 * math.sqrt(1e12 - f**2))
    np.testing.assert_allclose(made.propagate(torch.from_numpy(wave)), expected, atol=1e-9)


def test_diffractive_planes_are_masks_with_free_space_between() -> None:
    given = PARAMS["diffractive"] | {"detection": "intensity", "phase_bits": 3}
    made = make("diffractive", 9, 4, **given)
    x = inputs(2, 9).numpy()
    phase = np.round(made.controls.numpy() * 8 / (2 * np.pi)).reshape(2, 6, 6) * (2 * np.pi / 8)
    f = np.fft.fftfreq(6, 4e-6)
    way = np.exp(2j * np.pi * 1e-4 * np.sqrt(1e12 - f[:, None] ** 2 - f**2))
    field = np.zeros((2, 6, 6), complex)
    field[:, 1:4, 1:4] = x.reshape(2, 3, 3)
    for mask in np.exp(1j * phase):
        field = np.fft.ifft2(np.fft.fft2(field) * way) * mask
    field = np.fft.ifft2(np.fft.fft2(field) * way)[:, 2:4, 2:4].reshape(2, 4)
    found = made.respond(torch.from_numpy(x), made.controls)
    np.testing.assert_allclose(found, np.abs(field) ** 2, rtol=1e-6, atol=1e-9)


def test_a_mask_shifted_by_a_whole_pixel_is_the_rolled_mask() -> None:
    made = make("diffractive", 16, 16, **PARAMS["diffractive"] | {"planes": 1})
    before = made.masks(made.controls)
    made.shift = torch.tensor([[1.0, 0.0]], dtype=F64)
    torch.testing.assert_close(made.masks(made.controls), before.roll(1, 1))
    made.shift = torch.tensor([[0.5, 0.2]], dtype=F64)
    assert float(made.masks(made.controls).abs().max()) < 1 + 1e-12  # no light of its own


def test_absorber_has_its_closed_form_is_odd_and_grows() -> None:
    made = make("saturable-absorber", 1, 1, depth=0.6, unsaturable=0.1, saturation=2.0)
    x = torch.linspace(0, 4, 200, dtype=F64)[:, None]
    y = made.respond(x, made.controls)
    np.testing.assert_allclose(y, x.numpy() * np.sqrt(1 - 0.6 / (1 + x.numpy() ** 2 / 2) - 0.1), rtol=1e-12)
    assert torch.equal(made.respond(-x, made.controls), -y)
    various = make("saturable-absorber", 3, 3, depth=0.6, saturation=2.0, spread=0.3)
    x3 = inputs(4, 3).numpy()
    bleached = 1 - 0.6 / (1 + x3**2 / (2 * np.exp(0.3 * various.scatter.numpy())))
    np.testing.assert_allclose(
        various.respond(torch.from_numpy(x3), various.controls), x3 * np.sqrt(bleached), rtol=1e-12
    )
    with pytest.raises(ValueError, match="no weak light passes"):
        make("saturable-absorber", 1, 1, depth=0.6, unsaturable=0.5, saturation=2.0)
    assert (y.diff(dim=0) > 0).all()


# --- mechanics and circuits ---


def test_oscillators_follow_an_independent_integrator() -> None:
    params = {"damping": 0.1, "duffing": 0.7, "coupling": 0.8, "spread": 0.2, "time": 3.0}
    made = make("oscillators", 3, 4, **params, steps=60)
    x = inputs(1, 3)
    j, c = made.J.numpy(), made.controls.numpy()
    push = np.append(x.numpy()[0], 0.0)

    def motion(_: float, state: np.ndarray) -> np.ndarray:
        q, v = state[:4], state[4:]
        pulls = np.array([sum(j[i, k] * (q[k] - q[i]) for k in range(4)) for i in range(4)])
        return np.append(v, -(1 + c) * q - 0.1 * v - 0.7 * q**3 + pulls + push)

    exact = scipy.integrate.solve_ivp(motion, (0, 3), np.zeros(8), rtol=1e-9, atol=1e-11).y[:4, -1]
    np.testing.assert_allclose(made.respond(x, made.controls)[0], exact, atol=1e-5)
    coarse = make("oscillators", 3, 4, **params, steps=30).respond(x, made.controls)[0].numpy()
    fine = made.respond(x, made.controls)[0].numpy()
    assert 8 < np.abs(coarse - exact).max() / np.abs(fine - exact).max() < 32  # of fourth order: 16


def test_one_linear_oscillator_has_its_closed_form_and_free_ones_keep_their_energy() -> None:
    made = make("oscillators", 1, 1, coupling=0.0, time=1.5, steps=100)
    x = torch.tensor([[2.0]], dtype=F64)
    assert float(made.respond(x, made.controls)) == pytest.approx(2 * (1 - math.cos(1.5)), rel=1e-8)
    made = make("oscillators", 5, 5, coupling=0.7, duffing=1.0, time=5.0, steps=400)
    q, v = inputs(2, 5, 1), inputs(2, 5, 2)

    def energy(q: Tensor, v: Tensor) -> Tensor:
        between = made.J * (q[:, :, None] - q[:, None]) ** 2
        return (v**2 + q**2 + q**4 / 2).sum(1) / 2 + between.sum((1, 2)) / 4

    after = energy(*made.moved(q, v, torch.zeros_like(q), made.controls))
    torch.testing.assert_close(after, energy(q, v), rtol=1e-7, atol=0)


def test_currents_into_every_free_node_add_up_to_nothing() -> None:
    made = make("resistor-network", 3, 2, hidden=2, cubic=0.8, spread=1.0)
    x = inputs(4, 3)
    u = made.settled(made._held(x), made.controls).numpy()
    g = made.controls.numpy()
    to_held, between = g[:32].reshape(4, 8), np.zeros((4, 4))
    between[np.triu_indices(4, 1)] = g[32:]
    between += between.T
    for sample, node in zip(x.numpy(), u, strict=True):
        held = np.concatenate([sample, -sample, [1, -1]])
        for i in range(4):
            drops = np.concatenate([held - node[i], node - node[i]])
            current = np.concatenate([to_held[i], between[i]]) * (drops + 0.8 * drops**3)
            assert abs(current.sum()) < 1e-10
    assert np.abs(u).max() > 0.05


def test_a_linear_network_is_a_linear_system_and_the_other_one_a_minimum_of_co_content() -> None:
    linear = make("resistor-network", 3, 2, hidden=2, cubic=0.0)
    x = inputs(4, 3)
    doubled = linear.respond(2 * x, linear.controls) - linear.respond(0 * x, linear.controls)
    single = linear.respond(x, linear.controls) - linear.respond(0 * x, linear.controls)
    torch.testing.assert_close(doubled, 2 * single)
    made = make("resistor-network", 2, 2, hidden=1, cubic=0.8, spread=1.0)
    x = inputs(1, 2)
    g = made.controls.numpy()
    held = np.concatenate([x.numpy()[0], -x.numpy()[0], [1, -1]])

    def co_content(u: np.ndarray) -> float:
        drops = np.concatenate([(held - u[:, None]).ravel(), [u[1] - u[0], u[2] - u[0], u[2] - u[1]]])
        return float((g * (drops**2 / 2 + 0.2 * drops**4)).sum())

    lowest = scipy.optimize.minimize(co_content, np.zeros(3), tol=1e-14)
    np.testing.assert_allclose(made.settled(made._held(x), made.controls)[0], lowest.x, atol=1e-6)
    strain = made.strain(x, made.controls)[0].numpy()
    assert g @ strain == pytest.approx(lowest.fun, rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("cubic", [0.0, 0.8])
def test_ngspice_finds_the_same_voltages(cubic: float, tmp_path: Path) -> None:
    made = make("resistor-network", 3, 4, hidden=2, cubic=cubic, spread=1.0)
    made.disturb("drift", 0.1, normals(5))
    x = inputs(1, 3)
    (tmp_path / "network.cir").write_text(made.netlist(x[0], made.controls))
    run = ["ngspice", "-b", str(tmp_path / "network.cir")]
    said = subprocess.run(run, capture_output=True, text=True, check=True, timeout=60).stdout
    found = dict(re.findall(r"v\((out\d)\) = (\S+)", said))
    volts = [float(found[f"out{k}"]) for k in range(1, 5)]
    np.testing.assert_allclose(volts, made.respond(x, made.controls)[0], atol=1e-7)
    assert np.ptp(volts) > 0.05


@pytest.mark.parametrize("cubic", [0.0, 0.8])
def test_a_clamped_network_holds_its_outputs_and_settles_the_rest(cubic: float) -> None:
    made = make("resistor-network", 3, 2, hidden=2, cubic=cubic, spread=1.0)
    x, target = inputs(4, 3), inputs(4, 2, 3)
    free = made.settled(made._held(x), made.controls)
    u = made.settled(made._held(x), made.controls, target)
    assert torch.equal(u[:, 2:], target)
    again = made.settled(made._held(x), made.controls, free[:, 2:])
    torch.testing.assert_close(again, free, rtol=1e-8, atol=1e-10)  # held where it stood, nothing moves
    more = made.strain(x, made.controls, target) @ made.controls
    assert (more > made.strain(x, made.controls) @ made.controls).all()
