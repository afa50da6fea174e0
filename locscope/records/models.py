"""What the stages after loading know of a model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerPart:
    """One part of one layer: its name (`L22.mlp.down`) and how many weights it has."""

    location: str
    layer: int
    part: str
    parameters: int


@dataclass(frozen=True)
class ModelInfo:
    """A loaded model in plain words.

    `name` is what the user wrote, `source` the directory name or hub id it led to, `hash` a digest
    of configuration and weights, `stored` the dtype of the weights on disk.
    """

    name: str
    source: str
    family: str
    layers: int
    width: int
    heads: int
    key_value_heads: int
    vocabulary: int
    parameters: int
    dtype: str
    stored: str
    device: str
    hash: str
    grid: tuple[LayerPart, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts that its layers have."""
        return tuple(dict.fromkeys(one.part for one in self.grid))
