"""What people call a slide's clusters, how they colour them, and which they take for one.

The clusters themselves stay as they were found. A merge puts several under one name and one colour
wherever clusters are shown, counted or exported; bags are drawn from the clusters as found, so
neither a name nor a merge changes what a model reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from src_core.errors import ConfigError
from src_core.plain_text import printable
from src_core.types import Float32, Int64, Json, Labels

__all__ = ["LONGEST_NAME", "Legend"]

LONGEST_NAME = 60
_MOST_LISTED = 4
"""Numbers of a merged cluster without a name that are told; the others are counted."""
_COLOR = re.compile(r"#[0-9a-f]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Legend:
    """Names, colours and merges of the clusters of one clustering; nothing of it is the usual.

    A merged cluster is called and coloured as the first of its clusters that was; any of its
    numbers stands for it.
    """

    n_clusters: int
    names: Mapping[int, str] = field(default_factory=dict)
    colors: Mapping[int, str] = field(default_factory=dict)
    """Such as ``#e69f00``, red, green and blue (sRGB)."""
    groups: tuple[tuple[int, ...], ...] = ()
    """Numbers that were merged, each ascending and of two or more."""

    @property
    def is_edited(self) -> bool:
        """Whether anybody has said anything."""
        return bool(self.names or self.colors or self.groups)

    @property
    def leaders(self) -> Int64:
        """Shape (n_clusters,): the number under which each cluster is shown, the first merged."""
        found = np.arange(self.n_clusters, dtype=np.int64)
        for group in self.groups:
            found[list(group)] = group[0]
        return found

    @property
    def n_shown(self) -> int:
        """How many clusters there are to the eye: merged ones count as one."""
        return self.n_clusters - sum(len(group) - 1 for group in self.groups)

    def members(self, number: int) -> tuple[int, ...]:
        """Return what a cluster was merged with, itself included, ascending."""
        return next((group for group in self.groups if number in group), (number,))

    def name(self, number: int) -> str:
        """Return what a cluster is called: ``cluster 3`` where nobody has said."""
        members = self.members(number)
        named = next((one for one in members if one in self.names), None)
        if named is not None:
            return self.names[named]
        if len(members) == 1:
            return f"cluster {number}"
        listed = ", ".join(map(str, members[:_MOST_LISTED]))
        more = len(members) - _MOST_LISTED
        return f"clusters {listed}{f' and {more} more' if more > 0 else ''}"

    def all_names(self) -> list[str]:
        """Return the name of each cluster, merged ones under that of all."""
        found = [self.names.get(number, f"cluster {number}") for number in range(self.n_clusters)]
        for group in self.groups:
            for number in group:
                found[number] = self.name(group[0])
        return found

    def rgb(self, usual: NDArray[np.floating[Any]]) -> Float32:
        """Return the colour of each cluster, merged ones in that of all.

        Parameters
        ----------
        usual : ndarray, shape (n_clusters, 3)
            Red, green, blue from 0 to 1, where nobody has chosen another.

        Returns
        -------
        ndarray of float32, shape (n_clusters, 3)
        """
        found = np.asarray(usual, dtype=np.float32)[self.leaders]
        # Of a merged cluster's colours the first holds, so it comes last.
        for number, color in sorted(self.colors.items(), reverse=True):
            digits = color[1:]
            rgb = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
            found[list(self.members(number))] = rgb
        return found

    def shown(self, labels: Labels) -> Labels:
        """Return the number under which the cluster of each patch is shown; -1 stays none."""
        # One more, which -1 means.
        numbers = np.append(self.leaders, -1).astype(np.int32)
        found: Labels = numbers[labels]
        return found

    def renamed(self, number: int, name: str) -> Self:
        """Return the legend with a cluster called otherwise; empty brings its usual name back.

        Raises
        ------
        ConfigError
            If the name is too long, or there is no such cluster.
        """
        members, text = self._known(number), _clean(name)
        if len(text) > LONGEST_NAME:
            raise ConfigError(
                f"The name of a cluster has {len(text)} characters; give at most {LONGEST_NAME}."
            )
        names = {one: said for one, said in self.names.items() if one not in members}
        if text and text != replace(self, names=names).name(number):
            names[members[0]] = text
        return replace(self, names=names)

    def recolored(self, number: int, color: str | None) -> Self:
        """Return the legend with a cluster in another colour; None brings its usual one back.

        Raises
        ------
        ConfigError
            If the colour is not written as ``#e69f00``, or there is no such cluster.
        """
        members = self._known(number)
        if color is not None and not _COLOR.fullmatch(color.lower()):
            raise ConfigError(f"{color!r} is no colour; give one such as #e69f00.")
        colors = {one: said for one, said in self.colors.items() if one not in members}
        return replace(self, colors=colors | ({members[0]: color.lower()} if color else {}))

    def merged(self, numbers: Iterable[int]) -> Self:
        """Return the legend with clusters, and what they were merged with before, as one.

        Raises
        ------
        ConfigError
            If they are fewer than two, or there is no such cluster.
        """
        every = sorted({member for number in numbers for member in self._known(number)})
        if len(every) < 2:
            raise ConfigError("One cluster alone cannot be merged; choose at least two.")
        apart = [group for group in self.groups if group[0] not in every]
        return replace(self, groups=tuple(sorted([*apart, tuple(every)])))

    def split(self, number: int) -> Self:
        """Return the legend with a merged cluster apart again, each with its own name and colour.

        Raises
        ------
        ConfigError
            If it is not merged, or there is no such cluster.
        """
        members = self._known(number)
        if len(members) < 2:
            raise ConfigError(f"Cluster {number} is not merged; there is nothing to split.")
        return replace(self, groups=tuple(group for group in self.groups if group != members))

    def to_dict(self) -> dict[str, Json]:
        """Return the legend as JSON values."""
        return {
            "names": {str(one): name for one, name in sorted(self.names.items())},
            "colors": {str(one): color for one, color in sorted(self.colors.items())},
            "groups": [list(group) for group in self.groups],
        }

    @classmethod
    def from_dict(cls, values: object, n_clusters: int) -> Self:
        """Read what `to_dict` gave, trusting nothing; names are cleaned again.

        Raises
        ------
        ValueError
            If it is not the legend of so many clusters.
        """
        if not isinstance(values, dict) or set(values) != {"names", "colors", "groups"}:
            raise ValueError("a legend has names, colors and groups")
        names = _by_number(values["names"], n_clusters)
        colors = _by_number(values["colors"], n_clusters)
        names = {one: clean for one, name in names.items() if (clean := _clean(name))}
        if max(map(len, names.values()), default=0) > LONGEST_NAME:
            raise ValueError("a name is too long")
        if not all(_COLOR.fullmatch(color) for color in colors.values()):
            raise ValueError("a colour is none")
        groups = _groups(values["groups"], n_clusters)
        return cls(n_clusters=n_clusters, names=names, colors=colors, groups=groups)

    def _known(self, number: int) -> tuple[int, ...]:
        if not 0 <= number < self.n_clusters:
            raise ConfigError(
                f"There is no cluster {number}; the {self.n_clusters} are numbered from 0."
            )
        return self.members(number)


def _clean(name: str) -> str:
    """Return a name in one line, without what moves a cursor or turns the writing round."""
    return " ".join(printable(name).split())


def _by_number(values: object, n_clusters: int) -> dict[int, str]:
    if not isinstance(values, dict) or not all(isinstance(one, str) for one in values.values()):
        raise ValueError("names and colours are texts by the number of a cluster")
    numbers = {str(number): number for number in range(n_clusters)}
    if not numbers.keys() >= values.keys():
        raise ValueError("there is no such cluster")
    return {numbers[one]: text for one, text in values.items()}


def _groups(values: object, n_clusters: int) -> tuple[tuple[int, ...], ...]:
    if not isinstance(values, list) or not all(isinstance(one, list) for one in values):
        raise ValueError("groups are lists of numbers")
    every = [number for group in values for number in group]
    are_numbers = all(type(number) is int and 0 <= number < n_clusters for number in every)
    if not are_numbers or len(set(every)) != len(every):
        raise ValueError("a group has a number that is none, or that another has")
    if any(len(group) < 2 for group in values):
        raise ValueError("a group has two numbers or more")
    return tuple(sorted(tuple(sorted(group)) for group in values))
