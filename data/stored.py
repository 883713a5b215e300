"""Arrays of the user's in files: examples that stay there, and their targets, which are read. Knows no model."""

from __future__ import annotations

from thalweg.data.arrays import rows_of, split_arrays
from thalweg.data.files import found, refuse_changed
from thalweg.data.schema import ArraysConfig
from thalweg.data.shards import Shards, shards_at
from thalweg.data.splits import Splits
from thalweg.runner.base.errors import ConfigError


def stored(config: ArraysConfig) -> Splits:
    """Return the splits: those that a function returning both arrays would have, to the bit.

    Raises ConfigError, naming the file, for what cannot be trained on.
    """
    x, y = (shards_at(found(path, key)) for key, path in (("x", config.x), ("y", config.y)))
    _refuse_unlike(config, x, y)
    refuse_changed(config)
    return split_arrays(
        rows_of(x),
        y.whole(),
        kind=config.kind,
        shares=(config.validation, config.test),
        train_size=config.train_size,
        label_noise=config.label_noise,
        split_seed=config.split_seed,
    )


def _refuse_unlike(config: ArraysConfig, x: Shards, y: Shards) -> None:
    """Refuse examples and targets that are not as many, shard by shard where there are as many shards."""
    if len(x.shards) == len(y.shards):
        for one, other in zip(x.shards, y.shards, strict=True):
            if one.shape[0] != other.shape[0]:
                has = f"{one.path} has {one.shape[0]:,} rows, {other.path} has {other.shape[0]:,}"
                raise ConfigError(f"{has}; expected a target for each example", "is one cut off, or of other data?")
    if x.shape[0] != y.shape[0]:
        has = f"{config.x} has {x.shape[0]:,} rows in {len(x.shards):,} shards, {config.y} {y.shape[0]:,} in "
        raise ConfigError(f"{has}{len(y.shards):,}; expected a target for each example", "is a shard missing?")
