from math import isnan

import pandas as pd
from samples import scan_result, trial_record

from locscope.locations import Location
from locscope.runs.tables import EDITS, MEASURES, SCANS, TRIALS, layer_and_part, write_tables


def test_locations():
    assert layer_and_part(Location.parse("L2.mlp.down")) == (2, "mlp.down")
    assert layer_and_part(Location.parse("L4.attn.h3")) == (4, "attn.h3")
    assert layer_and_part(Location.parse("L8-15.mlp.up")) == (-1, "mlp.up")
    assert layer_and_part(Location.parse("L3.mlp.up+L3.mlp.down")) == (3, "mlp.up+mlp.down")


def filled(folder, order=(0, 1, 2)):
    trials = [trial_record("L4.attn.h3" if seed else "L2.mlp.down", seed) for seed in order]
    return write_tables(folder, trials, [scan_result()])


def test_every_record_is_in_its_tables(tmp_path):
    counts = filled(tmp_path)
    assert counts == {
        "trials.parquet": 3,
        "measures.parquet": 12,
        "edits.parquet": 6,
        "scans.parquet": 2,
    }
    frames = {name: pd.read_parquet(tmp_path / name) for name in counts}
    for name, columns in zip(counts, (TRIALS, MEASURES, EDITS, SCANS), strict=True):
        assert list(frames[name].columns) == list(columns)
        assert len(frames[name]) == counts[name]
    measures = frames["measures.parquet"]
    one = measures[measures["location"] == "L2.mlp.down"]
    losses = one[one["measure"] == "epoch_loss"].sort_values("epoch")
    assert list(losses["value"]) == [2.5, 0.005]
    assert list(losses["epoch"]) == [1, 2]
    reliability = one[one["measure"] == "reliability"].iloc[0]
    assert (reliability["value"], reliability["before"], reliability["epoch"]) == (1.0, 0.0, 2)
    assert isnan(one[one["measure"] == "locality"].iloc[0]["value"])
    edits = frames["edits.parquet"]
    assert edits[edits["edit"] == "a"].iloc[0]["broken"] == "N\nM"
    scans = frames["scans.parquet"]
    assert list(scans["layer"]) == [0, 1]
    assert list(scans["head"]) == [3, -1]


def test_equal_records_give_equal_files(tmp_path):
    for name, order in (("a", (0, 1, 2)), ("b", (2, 0, 1))):
        (tmp_path / name).mkdir()
        filled(tmp_path / name, order)
    for table in (tmp_path / "a").glob("*.parquet"):
        assert table.read_bytes() == (tmp_path / "b" / table.name).read_bytes()


def test_nothing_gives_empty_tables_with_columns(tmp_path):
    assert set(write_tables(tmp_path, (), ()).values()) == {0}
    empty = pd.read_parquet(tmp_path / "measures.parquet")
    assert list(empty.columns) == list(MEASURES)
    assert empty["value"].dtype == "float64"
