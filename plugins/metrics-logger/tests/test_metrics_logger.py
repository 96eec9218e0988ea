from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
from composer_metrics_logger import MetricsLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from composer import ComposerError
from composer.testing.conformance import CallbackTests
from composer.testing.runs import run


class TestMetricsLogger(CallbackTests):
    neutral = True

    def make(self):
        return MetricsLogger()


def read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_tensorboard_reads_every_step(tmp_path):
    run("sd", {"log": MetricsLogger()}, heun=True, folder=tmp_path)
    events = read(tmp_path / "tensorboard")
    assert set(events.Tags()["scalars"]) == {"seconds", "guidance_scale", "latents_std", "prediction_std", "sigma"}
    assert [event.step for event in events.Scalars("sigma")] == list(range(7))
    sigmas = [event.value for event in events.Scalars("sigma")]
    assert sigmas == sorted(sigmas, reverse=True) and all(
        event.value == 4.0 for event in events.Scalars("guidance_scale")
    )
    assert events.Tags()["images"] == ["image/0"]
    text = events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "prompt: a cat, sitting" in text and "scheduler: HeunDiscreteScheduler" in text


def test_a_folder_of_its_own(tmp_path):
    run("sd", {"log": MetricsLogger(folder=str(tmp_path / "mine"))})
    assert len(read(tmp_path / "mine").Scalars("seconds")) == 4


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("sd", {"log": MetricsLogger()})
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed")
def test_mlflow_reads_every_step(tmp_path):
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/mlflow.db" if importlib.util.find_spec("sqlalchemy") else str(tmp_path / "mlruns")
    run("sd", {"log": MetricsLogger(mlflow=uri, experiment="tests")})
    client = MlflowClient(uri)
    (result,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert result.data.params["prompt"] == "a cat, sitting" and result.info.status == "FINISHED"
    assert [item.step for item in client.get_metric_history(result.info.run_id, "sigma")] == [0, 1, 2, 3]


@pytest.mark.skipif(importlib.util.find_spec("mlflow") is not None, reason="MLflow is installed")
def test_without_mlflow_it_is_refused_in_a_line():
    with pytest.raises(
        ComposerError, match=r"callbacks.metrics_logger.mlflow: MLflow is not installed: pip install mlflow-skinny"
    ):
        MetricsLogger(mlflow="http://localhost:5000")


def test_settings_of_the_wrong_type():
    with pytest.raises(ComposerError, match=r"callbacks.metrics_logger.folder=3: must be text or null"):
        MetricsLogger(folder=3)
