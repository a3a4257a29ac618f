"""Heights of the bins of a grid, from the rises between neighbours, along the maximum spanning forest.

An edge joins two neighbours, and is the better the greater the sum of their loudness. Boruvka's algorithm: every bin
takes its best edge, then every tree its best edge to another tree, all at once, until no edge is left between trees.

The grid is cut into patches of whole rows, which grow for themselves, in cache and on threads: a tree whose best edge
leaves the patch waits, and what waits is joined at the end. The forest is the same, but where edges are equal. Rises
are whole numbers, whose sums are exact in any order, so heights are the same, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

_PATIENCE = 8  # a round in which fewer trees than one in so many that wait are joined is left to the end


class Edges(NamedTuple):
    """Edges between trees."""

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    rise: np.ndarray  # from the root of the first to the root of the second


class Onward(NamedTuple):
    """Edges from the last row of a patch to the next patch."""

    column: np.ndarray
    weight: np.ndarray
    rise: np.ndarray  # from the root of the bin's tree to the bin in the next patch


class Peaks(NamedTuple):
    """First ends of edges, the best edge of each tree among them."""

    weight: np.ndarray  # of the edge
    tree: np.ndarray
    height: np.ndarray


class Patch(NamedTuple):
    """Rows of the grid, whose bins belong to trees 0 ... n_trees - 1."""

    tree: np.ndarray  # (rows, columns)
    height: np.ndarray  # (rows, columns), above the root of the tree
    n_trees: int
    edges: Edges
    onward: Onward
    peaks: Peaks


def grown(loudness: np.ndarray, halves: np.ndarray) -> Patch:
    """The patch of all rows but the first and the last, which belong to its neighbours.

    Parameters
    ----------
    loudness : float64 array (rows + 2, columns)
        -inf where there is no bin, as in the last column and beyond the grid.
    halves : int64 array (2, rows + 2, columns)
        An edge in a row rises by the sum of halves[0] of its ends, one between two rows by that of halves[1].
    """
    size, width = loudness.size, loudness.shape[1]
    inner, shape = slice(width, -width), (loudness.shape[0] - 2, width)
    loud, halves = loudness.ravel(), halves.ravel()
    parent, height, weight = _to_the_loudest(loud, halves, width)
    roots = width + ((parent == np.arange(size)) & (loud > -np.inf))[inner].nonzero()[0]
    tree = np.zeros_like(parent)
    tree[roots] = np.arange(roots.size)
    tree = tree.take(parent)
    tree[:width] = tree[-width:] = outside = roots.size

    in_rows, in_columns = _useful(loud, width)
    row = (in_rows & (tree[:-1] != tree[1:])).nonzero()[0]
    column = (in_columns & (tree[:-width] != tree[width:])).nonzero()[0]
    here, there = np.concatenate([row, column]), np.concatenate([row + 1, column + width])
    kind = np.repeat([0, size], [row.size, column.size])
    rise = halves.take(here + kind) + halves.take(there + kind) + height.take(here) - height.take(there)
    edges = Edges(tree.take(here), tree.take(there), loud.take(here) + loud.take(there), rise)

    joined, above, left = _joined(edges, outside)
    edges = _of_joined(edges, joined, above, left)
    height += above.take(tree)
    tree = joined.take(tree)
    column = in_columns[-width:].nonzero()[0]
    here, there = column + size - 2 * width, column + size - width
    rise = halves.take(size + here) + halves.take(size + there) + height.take(here)
    onward = Onward(column, loud.take(here) + loud.take(there), rise)
    peaks = Peaks(weight.take(roots), joined[:-1], above[:-1])
    return Patch(tree[inner].reshape(shape), height[inner].reshape(shape), int(joined[-1]), edges, onward, peaks)


def heights(patches: Sequence[Patch]) -> list[np.ndarray]:
    """Of each patch, the heights of the roots of its trees.

    In every tree of the whole grid, the first end of the best edge is at 0.
    """
    ends = np.cumsum([patch.n_trees for patch in patches])
    base = [0, *ends[:-1]]
    edges = [Edges(a + patch.edges.first, a + patch.edges.second, patch.edges.weight, patch.edges.rise)
             for a, patch in zip(base, patches, strict=True)]  # fmt: skip
    for i, (patch, following) in enumerate(pairwise(patches)):
        column, weight, rise = patch.onward
        first, second = base[i] + patch.tree[-1].take(column), base[i + 1] + following.tree[0].take(column)
        edges.append(Edges(first, second, weight, rise - following.height[0].take(column)))
    tree, height, _ = _joined(Edges(*map(np.concatenate, zip(*edges, strict=True))), int(ends[-1]))

    members = np.concatenate([a + patch.peaks.tree for a, patch in zip(base, patches, strict=True)])
    weight, above = (np.concatenate([getattr(patch.peaks, name) for patch in patches]) for name in ("weight", "height"))
    above += height.take(members)
    members = tree.take(members)
    best = np.full(int(tree[-1]), -np.inf)
    np.maximum.at(best, members, weight)
    top = (weight == best.take(members)).nonzero()[0][::-1]  # of equal ones the first: it is written last
    zero = np.zeros(int(tree[-1]) + 1, np.int64)
    zero[members.take(top)] = above.take(top)
    return np.split(height - zero.take(tree), ends)[:-1]


def _useful(loud: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Which edges in rows (of bins i and i + 1) and in columns (of i and i + width) may be in the forest.

    Not the least of the four around a cell, for the other three are a better path. Of equal ones the first, and those
    of rows before those of columns. Of the edges between trees that leaves a third.
    """
    row, column = loud[:-1] + loud[1:], loud[:-width] + loud[width:]
    cells = row.size - width
    upper, lower, former, latter = row[:cells], row[width:], column[:cells], column[1:]
    in_row = np.minimum(upper, lower) <= np.minimum(former, latter)
    is_upper, is_former = upper <= lower, former <= latter
    rows, columns = row > -np.inf, column > -np.inf
    rows[:cells] &= ~(in_row & is_upper)
    rows[width:] &= ~in_row | is_upper
    columns[:cells] &= in_row | ~is_former
    columns[1:] &= in_row | is_former
    return rows, columns


def _to_the_loudest(loud: np.ndarray, halves: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each bin the root of the tree that it belongs to when every bin has taken its best edge, its height above
    that, and the weight of the edge.

    A bin whose best edge leaves the patch takes none. Of equal edges the first in memory is taken, by both of its ends:
    a cycle would need an order that turns.
    """
    size, inner = loud.size, slice(width, -width)
    here, before, after = loud[inner], loud[width - 1 : -width - 1], loud[width + 1 : size - width + 1]
    above, below = loud[: -2 * width], loud[2 * width :]
    in_row, in_column = np.maximum(before, after), np.maximum(above, below)
    turned = in_column > in_row
    backward = (turned & (above >= below)) | (~turned & (before >= after))
    weight = np.full(size, -np.inf)
    np.add(here, np.maximum(in_row, in_column), out=weight[inner])

    # Tables and products, for np.where takes three times as long where the choice cannot be predicted.
    kind = 2 * turned.view(np.int8) + backward
    index, step = np.arange(size), np.zeros(size, np.intp)
    step[inner] = np.array([1, -1, width, -width]).take(kind)
    step[inner][weight[inner] == -np.inf] = 0
    for row, beyond in ((slice(width, 2 * width), -width), (slice(-2 * width, -width), width)):
        step[row][step[row] == beyond] = 0
    parent = index + step
    place = turned * size
    place += index[inner]
    height = np.zeros(size, np.int64)
    np.add(halves.take(place), halves.take(place + step[inner]), out=height[inner])
    height[inner] *= np.array([-1, 1, -1, 1]).take(kind)

    returned = step.take(parent)
    returned += step
    roots = ((returned == 0) & (step >= 0)).nonzero()[0]  # of an edge that both ends took, the first end
    parent[roots], height[roots] = roots, 0
    return *_followed(parent, height), weight


def _joined(edges: Edges, n_trees: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trees 0 ... n_trees - 1 joined by their best edges, as far as those do not end in tree n_trees, the outside.

    Returns the number of the tree that each has become part of, the height of its root there, and the edges that are
    left. The number of the outside is again that of all others.
    """
    left = np.argsort(edges.weight)  # the best come last
    first, second = edges.first.take(left), edges.second.take(left)
    tree, height = np.arange(n_trees + 1), np.zeros(n_trees + 1, np.int64)
    while left.size:
        outside = int(tree[-1])
        best = np.full((2, outside + 1), -1)
        best[0][first] = best[1][second] = np.arange(left.size)  # of several values for a tree, the last stays
        best = best.max(axis=0)
        taking = (best[:-1] >= 0).nonzero()[0]
        edge = best.take(taking)
        partner = first.take(edge) + second.take(edge) - taking
        free = (partner != outside).nonzero()[0]
        if _PATIENCE * free.size <= taking.size - free.size:
            break
        taking, edge, partner = taking.take(free), edge.take(free), partner.take(free)
        forward = partner == second.take(edge)
        edge = left.take(edge)
        up = edges.rise.take(edge) + height.take(edges.first.take(edge)) - height.take(edges.second.take(edge))

        index = np.arange(outside + 1)
        parent, above = index.copy(), np.zeros(outside + 1, np.int64)
        parent[taking] = partner
        above[taking] = np.where(forward, -up, up)
        roots = ((parent.take(parent) == index) & (index <= parent)).nonzero()[0]
        parent[roots], above[roots] = roots, 0
        parent, above = _followed(parent, above)
        number = np.zeros_like(parent)
        number[roots] = np.arange(roots.size)
        number = number.take(parent)

        height += above.take(tree)
        tree = number.take(tree)
        first, second = number.take(first), number.take(second)
        between = (first != second).nonzero()[0]
        first, second, left = first.take(between), second.take(between), left.take(between)
    return tree, height, left.take(((first != tree[-1]) & (second != tree[-1])).nonzero()[0])


def _of_joined(edges: Edges, joined: np.ndarray, above: np.ndarray, left: np.ndarray) -> Edges:
    """Those that are left, between the trees that have been made of theirs."""
    first, second, weight, rise = (each.take(left) for each in edges)
    rise += above.take(first) - above.take(second)
    return Edges(joined.take(first), joined.take(second), weight, rise)


def _followed(parent: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The root of each node and the height above it, of parents and the heights above them: twice as far each time."""
    for _ in range(2):  # most are there after two
        height = height + height.take(parent)
        parent = parent.take(parent)
    node = (parent.take(parent) != parent).nonzero()[0]
    while node.size:
        via = parent.take(node)
        farther = parent.take(via)
        height[node] += height.take(via)
        parent[node] = farther
        node = node[parent.take(farther) != farther]
    return parent, height
