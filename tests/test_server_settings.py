"""Settings and exit codes that both servers share."""

from __future__ import annotations

import pytest

from model_trainer.settings import Settings as TrainerSettings
from multitaskais.errors import ConfigError, InputError, StoreUnavailable
from score_server.settings import Settings as ScoreSettings
from web_common.commands import exit_code

BOTH = pytest.mark.parametrize("settings", [ScoreSettings, TrainerSettings])


@BOTH
def test_each_setting_is_taken_with_and_without_the_prefix_and_the_prefix_goes_first(settings):
    assert settings.load({"LOG_FORMAT": "json"}).log_format == "json"
    assert settings.load({"MULTITASKAIS_LOG_FORMAT": "json", "LOG_FORMAT": "xml"}).log_format == "json"


@BOTH
@pytest.mark.parametrize("value", ["many", "-1", "70000"])
def test_a_wrong_setting_is_named_in_one_line(settings, value):
    (port,) = settings.PORTS
    with pytest.raises(ConfigError) as e:
        settings.load({port.upper(): value})
    assert str(e.value).startswith(port.upper())
    assert "\n" not in str(e.value)


@BOTH
def test_the_table_has_a_row_for_each_setting_and_no_value_of_a_secret(settings):
    rows = settings.table().splitlines()[2:]
    assert [r.split("`")[1] for r in rows] == [
        f"MULTITASKAIS_{n.upper()}" for n in settings.__dataclass_fields__ if n != "PORTS"
    ]
    assert "hush-hush" not in repr(
        settings(**{n: "hush-hush-hush-hush" for n in settings.__dataclass_fields__ if n.endswith("token")})
    )


def test_each_end_of_a_command_has_its_exit_code(capsys):
    class Away(Exception):
        pass

    def raises(e: BaseException) -> int:
        raise e

    assert exit_code(lambda: 1) == 1
    assert exit_code(lambda: raises(InputError("no such file"))) == 2
    assert exit_code(lambda: raises(StoreUnavailable("away"))) == 75
    assert exit_code(lambda: raises(Away("away")), (Away, StoreUnavailable)) == 75
    assert exit_code(lambda: raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err.splitlines() == ["error: no such file", "error: away", "error: away"]
