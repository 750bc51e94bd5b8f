"""Settings: one object, checked before anything starts; wrong ones stop the start with one line."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from multitaskais.errors import ConfigError
from stream_operator.settings import Settings
from stream_operator.worker.engines import engine_opener


def test_the_names_of_the_earlier_operator_are_kept():
    env = {
        "BOOTSTRAP_SERVERS": "k:1",
        "TOPIC": "t",
        "MIN_TIMESPAN": "3600",
        "OUTPUT_DIR": "/o",
        "SPEED_MAX": "40",
        "INTERVAL_MAX": "5000",
    }
    s = Settings.load(env)
    assert (s.bootstrap_servers, s.topic, s.min_timespan, s.output_dir, s.speed_max, s.interval_max) == (
        "k:1",
        "t",
        3600,
        "/o",
        40,
        5000,
    )


def test_the_environment_goes_before_the_file(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text('topic = "from-file"\nPARTITIONS = 7\ncheckpoint_interval_s = 2')
    s = Settings.load({"TOPIC": "from-env", "SETTINGS_FILE": str(file)})
    assert (s.topic, s.partitions, s.checkpoint_interval_s) == ("from-env", 7, 2.0)


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"PARTITIONS": "many"}, "PARTITIONS='many': must be a whole number"),
        ({"PARTITIONS": "2.5"}, "must be a whole number"),
        ({"PARTITIONS": "0"}, "PARTITIONS=0: must be a number of at least 1"),
        ({"SPEED_MAX": "nan"}, "SPEED_MAX"),
        ({"CHECKPOINT_INTERVAL_S": "inf"}, "CHECKPOINT_INTERVAL_S"),
        ({"LOG_FORMAT": "xml"}, "must be one of console, json"),
        ({"TOPIC": "ais.alerts"}, "two of the topics have one name: ais.alerts"),
        ({"TOPIC": ""}, "TOPIC must not be empty"),
        ({"SECURITY_PROTOCOL": "SASL_SSL"}, "needs SASL_USERNAME and SASL_PASSWORD"),
        ({"SSL_CA_LOCATION": "/no/such.pem"}, "SSL_CA_LOCATION=/no/such.pem: no such file"),
        ({"SETTINGS_FILE": "/no/such.toml"}, "/no/such.toml"),
        ({"HEALTH_PORT": "70000"}, "at most 65535"),
    ],
)
def test_a_wrong_setting_is_named_in_one_line(env, says):
    with pytest.raises(ConfigError) as e:
        Settings.load(env)
    assert says in str(e.value)
    assert "\n" not in str(e.value)


def test_an_unknown_setting_in_the_file_is_an_error_with_a_guess(tmp_path):
    file = tmp_path / "s.toml"
    file.write_text("bootstrap_server = 'x'")
    with pytest.raises(ConfigError, match="unknown setting 'bootstrap_server'; did you mean bootstrap_servers"):
        Settings.load({}, file)


def test_a_misspelt_variable_is_warned_about():
    assert Settings.near_misses({"BOOTSTRAP_SERVER": "x", "HOME": "/"}) == [
        "the variable BOOTSTRAP_SERVER is no setting; did you mean BOOTSTRAP_SERVERS?"
    ]


def test_a_misspelt_variable_with_the_prefix_is_warned_about_too():
    assert Settings.near_misses({"MULTITASKAIS_BOOTSTRAP_SERVER": "x", "MULTITASKAIS_TOPIC": "t"}) == [
        "the variable MULTITASKAIS_BOOTSTRAP_SERVER is no setting; did you mean MULTITASKAIS_BOOTSTRAP_SERVERS?"
    ]


@pytest.mark.parametrize("field", ["topic", "output_dir", "model"])
def test_each_setting_is_taken_with_and_without_the_prefix_and_the_prefix_goes_first(field):
    bare, prefixed = {field.upper(): "bare"}, {f"MULTITASKAIS_{field.upper()}": "prefixed"}
    assert getattr(Settings.load(bare), field) == "bare"
    assert getattr(Settings.load(prefixed), field) == "prefixed"
    assert getattr(Settings.load(bare | prefixed), field) == "prefixed"


def test_a_wrong_value_is_named_by_the_variable_that_holds_it():
    with pytest.raises(ConfigError, match=r"^MULTITASKAIS_PARTITIONS='x': must be a whole number$"):
        Settings.load({"MULTITASKAIS_PARTITIONS": "x", "PARTITIONS": "3"})


def test_secrets_do_not_show():
    s = Settings.load({"SECURITY_PROTOCOL": "SASL_SSL", "SASL_USERNAME": "u", "SASL_PASSWORD": "hush-hush"})
    assert "hush-hush" not in repr(s) + str(s)


def test_every_setting_has_its_line_in_the_table_and_the_table_stands_in_the_documentation():
    from tests.stream.conftest import ROOT

    table = Settings.table()
    assert all(f"`MULTITASKAIS_{name.upper()}`" in table for name in (f.name for f in dataclasses.fields(Settings)))
    assert table in (ROOT / "docs" / "operator" / "settings.md").read_text()


def test_the_command_line_ends_with_2_and_one_line_on_a_wrong_setting():
    done = subprocess.run(
        [sys.executable, "-m", "stream_operator", "worker"], env={"PARTITIONS": "x"}, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == "error: PARTITIONS='x': must be a whole number\n"


def test_a_challenger_of_another_region_is_refused():
    with pytest.raises(ConfigError, match="CHALLENGER='gulf'"):
        engine_opener(Settings(model="brittany", challenger="gulf"))
