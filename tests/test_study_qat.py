import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parent.parent / "scripts" / "study_qat.py"


@pytest.fixture(scope="module")
def study() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_qat", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_interval_of_a_mean_is_students(study: ModuleType) -> None:
    assert study.interval([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx((3.0, 1.0370, 4.9630), abs=1e-3)


@pytest.mark.train
@pytest.mark.golden
@pytest.mark.slow
def test_with_one_scale_of_4_bits_ptq_loses_accuracy_and_qat_wins_it_back_training_on_alone_does_not(
    study: ModuleType, tmp_path: Path
) -> None:
    original = study.recipe.load(study.DIGITS)
    quantizer = study.VARIANTS["4 bits, one scale for each layer"]
    seeds = range(study.FIRST_SEED, study.FIRST_SEED + 5)
    runs = [study.accuracies(original, quantizer, seed, tmp_path) for seed in seeds]
    assert study.interval([run["float"] - run["ptq"] for run in runs])[0] >= 3, runs
    assert study.interval([run["qat"] - run["ptq"] for run in runs])[1] > 0, runs
    assert study.interval([run["float"] - run["qat"] for run in runs])[0] <= 1, runs
    assert study.interval([run["float"] - run["control"] for run in runs])[0] >= 2, runs
