"""Token sequences by their common beginnings. Knows token ids only, not what they stand for.

A radix tree: each edge is a run of tokens, each node has the keys of the sequences that pass through it.

    key 0: 1 2 3 4       ── 1 2 3 ──┬── 4      {0}
    key 1: 1 2 3 7 8        {0, 1}  └── 7 8    {1}
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Sequence as Tokens

from llmcore.sequence import common_prefix


class _Node:
    __slots__ = ("children", "edge", "keys", "parent")

    def __init__(self, edge: list[int], parent: _Node | None) -> None:
        self.edge = edge  # the tokens from the parent to here
        self.parent = parent
        self.children: dict[int, _Node] = {}  # by the first token of their edge
        self.keys: set[int] = set()


class RadixTree:
    """Holders (any numbers) and their token sequences, one each."""

    def __init__(self) -> None:
        self._root = _Node([], None)
        self._ends: dict[int, _Node] = {}

    def __len__(self) -> int:
        return len(self._ends)

    def insert(self, key: int, tokens: Tokens[int]) -> None:
        """Makes `tokens` the sequence of `key`, in place of an earlier one."""
        self.remove(key)
        node, at = self._root, 0
        node.keys.add(key)
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                child = _Node(list(tokens[at:]), node)
                node.children[child.edge[0]] = child
                n = len(child.edge)
            else:
                n = common_prefix(child.edge, tokens[at : at + len(child.edge)])
                if n < len(child.edge):
                    child = self._split(child, n)
            child.keys.add(key)
            node, at = child, at + n
        self._ends[key] = node

    def remove(self, key: int) -> None:
        """Forgets a key. Does nothing if there is no such key."""
        node = self._ends.pop(key, None)
        while node is not None:
            node.keys.discard(key)
            parent = node.parent
            if parent is not None and not node.keys:
                del parent.children[node.edge[0]]
            elif parent is not None:
                self._merge(node)
            node = parent

    def matches(self, tokens: Tokens[int]) -> Iterator[tuple[int, int]]:
        """Yields (n, key) for each sequence that has its first n > 0 tokens in common with `tokens`, the longest first; equals by
        key."""
        passed: list[tuple[int, _Node]] = []
        node, at = self._root, 0
        while at < len(tokens):
            child = node.children.get(tokens[at])
            if child is None:
                break
            n = common_prefix(child.edge, tokens[at : at + len(child.edge)])
            node, at = child, at + n
            passed.append((at, node))
            if n < len(child.edge):
                break
        seen: set[int] = set()
        for n, node in reversed(passed):
            for key in sorted(node.keys - seen):
                yield n, key
            seen |= node.keys

    def _split(self, node: _Node, n: int) -> _Node:
        """Puts a node into the middle of an edge, after its first n tokens, and returns it."""
        assert node.parent is not None, "the root has no edge"
        upper = _Node(node.edge[:n], node.parent)
        upper.keys = set(node.keys)
        node.parent.children[upper.edge[0]] = upper
        node.edge, node.parent = node.edge[n:], upper
        upper.children[node.edge[0]] = node
        return upper

    def _merge(self, node: _Node) -> None:
        """Joins a node with its only child if no sequence ends between them: the opposite of _split."""
        if len(node.children) != 1:
            return
        [child] = node.children.values()
        if child.keys != node.keys:
            return
        assert node.parent is not None, "the root is never merged"
        child.edge, child.parent = node.edge + child.edge, node.parent
        node.parent.children[child.edge[0]] = child

    @property
    def n_nodes(self) -> int:
        """Number of nodes below the root."""
        n, todo = 0, list(self._root.children.values())
        while todo:
            node = todo.pop()
            n += 1
            todo += node.children.values()
        return n
