"""A region of one's own: from an archive to a model with its card, in one command that can be given again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from model_trainer.pipeline.command import results_of
from multitaskais.cli import main
from multitaskais.config import REGIONS
from multitaskais.model import folder as modelfolder
from multitaskais.simulate import SimulationSettings, simulate
from multitaskais.simulate.archive import write_parquet

BRITTANY_BOX = ["47.5", "49.5", "-7", "-4"]


def test_a_box_and_an_archive_become_a_model_with_its_card_and_a_second_call_does_nothing_again(tmp_path, capsys):
    settings = SimulationSettings(1_767_225_600.0, 1, 70, 0)
    day = tmp_path / "day.parquet"
    write_parquet(simulate(REGIONS["brittany"], settings, np.random.default_rng(1)).reports, day)
    out = tmp_path / "mine"
    command = ["region", "new", "mine", "--box", *BRITTANY_BOX, "--tracks", str(day), "--out", str(out), "--steps", "2", "--per-kind", "1"]  # fmt: skip
    assert main(command) == 0
    model = modelfolder.load(out / "model")
    assert "vrnn" in model.panel.names
    card = (out / "model" / "card" / "card.md").read_text()
    assert model.version in card
    assert "recall at 5 %" in card
    capsys.readouterr()
    assert main(command) == 0
    assert capsys.readouterr().out.count("done before") == 4
    before = (out / "model" / "manifest.json").read_bytes()
    assert main([*command[:-1], "2"]) == 0  # two copies of each kind: neither weights nor thresholds are others
    said = capsys.readouterr().out
    assert [f"[{n}/4]" in said.split("done before")[-1] for n in (1, 2, 3, 4)] == [False, False, True, True]
    assert "other parameter per_kind: 1 -> 2" in said
    assert (out / "model" / "manifest.json").read_bytes() == before
    assert json.loads((out / "evaluation" / "report.json").read_text())["abnormal_tracks"] == 22
    assert (out / "held_out.parquet").is_file()
    assert (out / "model" / "training" / "log.csv").is_file()
    assert [r["pipeline"] for r in results_of(None, out / "pipeline", make=False).runs()] == ["train", "train"]


def test_a_training_that_fails_is_one_line_that_names_the_step_and_code_2(tmp_path, capsys):
    assert main(["region", "new", "x", "--box", *BRITTANY_BOX, "--tracks", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 2  # fmt: skip
    said = capsys.readouterr().err.strip()
    assert "tracks: archive" in said
    assert len(said.splitlines()) == 1
    assert (
        main(["region", "new", "No Name", "--box", *BRITTANY_BOX, "--tracks", "t", "--out", str(tmp_path / "p")]) == 2
    )
    assert "lower-case" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_a_box_that_cannot_be_is_refused_in_one_line(tmp_path, capsys):
    code = main(["region", "new", "x", "--box", "50", "40", "1", "2", "--tracks", "t", "--out", str(tmp_path)])
    assert code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["decode", "simulate", "train", "calibrate", "detect", "inject", "evaluate", "region"]
)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0
    assert command in capsys.readouterr().out
