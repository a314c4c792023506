"""The peer of the study ``speculative``: the same net in JAX, jit and lax.scan over samples.

Started by that study with another Python. Reads an npz, then lines "batch first count" on stdin; answers each
with "seconds sum-of-losses".
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np

given = np.load(sys.argv[1])
x, labels = jnp.asarray(given["x"]), jnp.asarray(given["labels"])
weights = tuple(jnp.asarray(given[name]) for name in ("w1", "b1", "w2", "b2"))
LR = float(given["lr"])


def step(weights, batch):
    w1, b1, w2, b2 = weights
    x, labels = batch
    h = jax.nn.relu(x @ w1.T + b1)
    z = h @ w2.T + b2
    p = jax.nn.softmax(z)
    target = jax.nn.one_hot(labels, z.shape[1])
    loss = -(jax.nn.log_softmax(z) * target).sum()
    d2 = (p - target) / x.shape[0]
    d1 = (d2 @ w2) * (h > 0)
    moved = w1 - LR * d1.T @ x, b1 - LR * d1.sum(0), w2 - LR * d2.T @ h, b2 - LR * d2.sum(0)
    return moved, loss


@jax.jit
def run(weights, x, labels):
    return jax.lax.scan(step, weights, (x, labels))


states = {}
for line in sys.stdin:
    batch, first, count = map(int, line.split())
    part = slice(first, first + count)
    chunk = x[part].reshape(-1, batch, x.shape[1]), labels[part].reshape(-1, batch)
    jax.block_until_ready(chunk)
    began = time.perf_counter()
    states[batch], losses = jax.block_until_ready(run(states.get(batch, weights), *chunk))
    print(time.perf_counter() - began, float(losses.sum()), flush=True)
