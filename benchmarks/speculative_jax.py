"""The peer of the study ``speculative``: the same net in JAX, jit and lax.scan over samples.

Weights lie input-major and the process keeps to one core: of the forms that were tried (output-major,
products of vectors, free on two cores) this is the fastest at batch 1, several times as fast as the slowest.

Started by that study with another Python. Reads an npz, then lines "batch first count" on stdin; answers each
with "seconds sum-of-losses".
"""

from __future__ import annotations

import os
import sys
import time

if hasattr(os, "sched_setaffinity"):  # before JAX counts the cores
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy as np

given = np.load(sys.argv[1])
x, labels = jnp.asarray(given["x"]), jnp.asarray(given["labels"])
weights = tuple(jnp.asarray(given[name].T) for name in ("w1", "b1", "w2", "b2"))
LR = float(given["lr"])


def step(weights, batch):
    w1, b1, w2, b2 = weights
    x, labels = batch
    h = jax.nn.relu(x @ w1 + b1)
    z = h @ w2 + b2
    p = jax.nn.softmax(z)
    target = jax.nn.one_hot(labels, z.shape[1])
    loss = -(jax.nn.log_softmax(z) * target).sum()
    d2 = (p - target) / x.shape[0]
    d1 = (d2 @ w2.T) * (h > 0)
    moved = w1 - LR * x.T @ d1, b1 - LR * d1.sum(0), w2 - LR * h.T @ d2, b2 - LR * d2.sum(0)
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
