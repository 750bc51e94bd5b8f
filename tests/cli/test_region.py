"""A region of one's own: from an archive to a model with its card, in one command that can be given again."""

from __future__ import annotations

import numpy as np
import pytest

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
