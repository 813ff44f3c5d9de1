"""The report's three files: whole, honest, safe to open, and equal for equal runs."""

from __future__ import annotations

import copy
import json
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import TypeAdapter

from pipeline import report, verify
from pipeline.errors import RequestError
from pipeline.model import Divergence, Verdict
from tests import report_sample

VOID = {"meta", "link", "br", "img", "input", "hr", "col"}
SVG_LEAVES = {"rect", "line", "circle", "path", "polygon", "polyline"}
HOSTILE = "<script>alert(1)</script>\"'>&{{7*7}}{%x%}\u202e\x00\x1b[2J\ud800]]>"


class Page(HTMLParser):
    """A page's tags, checked to be balanced, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> names an attribute twice: {names}"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in SVG_LEAVES, f"<{tag}/> is not a leaf"
        self.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes another tag"

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.texts))

    def values(self, tag: str, attribute: str) -> list[str]:
        return [attrs[attribute] for name, attrs in self.tags if name == tag and attribute in attrs]


def written(mapping: dict[str, Any], out: Path) -> tuple[Page, dict[str, Any], ElementTree.Element]:
    report.write(mapping, out)
    assert sorted(path.name for path in out.iterdir()) == ["junit.xml", "report.html", "report.json"]
    return (
        Page((out / "report.html").read_text(encoding="utf-8")),
        json.loads((out / "report.json").read_text(encoding="utf-8")),
        ElementTree.fromstring((out / "junit.xml").read_bytes()),
    )


def many_boards() -> dict[str, Any]:
    mapping = report_sample.exact()
    for number in range(6):
        target = copy.deepcopy(mapping["targets"][0])
        target["board"]["id"] = f"board_{number}"
        mapping["targets"].append(target)
    return mapping


def without_targets() -> dict[str, Any]:
    return {**report_sample.exact(), "targets": []}


def odd() -> dict[str, Any]:
    """Everything that can be nothing is nothing, and what need not fit together does not."""
    mapping = report_sample.exact()
    mapping.update(labels=["only one"], versions={}, tools={}, hashes={}, timing={})
    mapping["model"].update(macs=0, weights_bytes=0, inputs=[], outputs=[])
    mapping["quantization"].update(
        methods=[{"name": "ptq", "accuracy": 0.0, "correct": 0, "total": 0, "file_bytes": 0, "chosen": True}],
        confusion=[[0, 0, 0], [1], []],
        history={"float": {"loss": [], "val_loss": [float("nan")]}, "qat": {"loss": [0.1]}},
        representative=None,
        gate=None,
    )
    first, second = mapping["targets"]
    first.update(kernels=[], sections={}, ladder=[])
    first["arena"].update(bytes=0, lower_bound=0, steps=0)
    first["arena"]["slots"] = [{"name": "", "offset": 0, "bytes": 0, "first": -1, "last": 0}]
    first["verify"].update(macs=0, weights_bytes=0, model_flash_bytes=None, litert=None, arena_bytes=0)
    second.update(kernels=[], layers=[], device_accuracy=None)
    second["board"].update(flash_bytes=0, ram_bytes=0)
    return mapping


SAMPLES = [
    report_sample.exact,
    report_sample.divergent,
    report_sample.given_model,
    many_boards,
    without_targets,
    odd,
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_every_page_is_well_formed_and_its_links_lead_somewhere(sample: Any, tmp_path: Path) -> None:
    page, _, _ = written(sample(), tmp_path)
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))
    assert all(link.startswith("#") and link[1:] in identifiers for link in page.values("a", "href"))
    assert all(label in identifiers for label in page.values("section", "aria-labelledby"))


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_page_loads_nothing(sample: Any, tmp_path: Path) -> None:
    page, _, _ = written(sample(), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "use", "image"} & {
        t for t, _ in page.tags
    }
    assert not any({"src", "srcset", "xlink:href", "background", "action"} & set(attrs) for _, attrs in page.tags)
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert not re.search(r"url\(|@import|@font-face|https?:|//[a-z]+\.", html)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")


def test_the_page_has_all_sections(tmp_path: Path) -> None:
    page, _, _ = written(report_sample.exact(), tmp_path)
    for words in (
        "Byte for byte exact on 2 boards",
        "98.61 %",
        "98.89 % in float32",
        "−1.11 pp",
        "356 of 360 right",
        "Rows are what it is, columns what the int8 model answers",
        "loss, logarithmic",
        "Exactness ladder",
        "Reported only: differs from TFLM on the host on 3 of 100 samples, by at most 1",
        "Equal to TFLM on the host on 100 samples, every byte",
        "355 of 360 right (98.61 %), 355 on the host; no answer differs.",
        "Flash 24.1 KiB of 1 MiB",
        "RAM 6.4 KiB of 256 KiB",
        "lower bound",
        "tflash_depthwise_conv_2d_s8depth multiplier 1",
        "963,220",
        "1,980,108",
        "tflite-micro0.dev20260101",
        report_sample.sha256("golden"),
    ):
        assert words in page.text, words


def test_the_page_says_which_layers_a_build_does_not_have(tmp_path: Path) -> None:
    sample = report_sample.exact()
    hidden = {
        "op_index": 3,
        "op": "PAD",
        "tensor_index": 9,
        "tensor": "pad",
        "reason": "op 4 (CONV_2D) pads while it reads",
    }
    sample["targets"][0]["verify"]["layers_hidden"] = [hidden]
    page, _, _ = written(sample, tmp_path)
    assert "Op 3, PAD, is not shown: op 4 (CONV_2D) pads while it reads." in page.text


def test_the_page_says_what_the_runtime_has_to_say(tmp_path: Path) -> None:
    text = written(report_sample.given_model(), tmp_path)[0].text
    assert "so there is no plan to draw. Built with the vendor's TFLM. Measured here: it takes 5000 bytes." in text


def test_the_page_shows_of_which_types_the_tensors_are(tmp_path: Path) -> None:
    page = written(report_sample.exact(), tmp_path)[0].text
    assert "int32: 12 tensors, int8: 28 tensors; no op between the edges works on floats" in page


def test_the_page_says_how_raw_values_become_the_models_input(tmp_path: Path) -> None:
    words = (
        "uint8, channels last; real = raw × scale + offset, with scale 0.0625 and offset 0. The data went through it"
    )
    assert words in written(report_sample.exact(), tmp_path)[0].text
    silent = report_sample.exact()
    silent["input_contract"] = None
    (tmp_path / "silent").mkdir()
    page = written(silent, tmp_path / "silent")[0].text
    assert "not stated in the recipe (input): the application has to normalise as the data were" in page


def test_the_page_says_whether_int8_is_good_enough_and_how_each_layer_was_trained(tmp_path: Path) -> None:
    page = written(report_sample.exact(), tmp_path)[0].text
    assert "No difference to float32 beyond chance: −0.28 pp, with 95 % between −1.40 pp and +0.80 pp." in page
    assert "3 answers changed: 1 became right, 2 became wrong." in page
    assert "On 359 of 360 test samples the int8 model answers the class that its simulation" in page
    assert "float: excluded by the recipe; frozen" in page
    assert "no representative sample is of class 3" in page
    assert "2 of 3 layers with int8 simulated, 1 frozen. The furthest from its simulation is logits: 0.40 steps" in page
    assert "stem_reluReLU" in page and "stemConv2D" not in page  # merged into its activation, which stands for both


def test_the_page_ranks_the_layers_that_int8_hurts_and_says_what_to_try(tmp_path: Path) -> None:
    page = written(report_sample.exact(), tmp_path)[0].text
    assert "float32 is right on 356, all layers in int8 on 352, at 24.2 dB" in page
    assert page.index("25.1 dB") < page.index("harmless")
    assert "its weights lose most: train it with int8 simulated (method: qat)" in page


def test_the_page_says_where_a_ranked_layer_has_weights_of_4_bits(tmp_path: Path) -> None:
    sample = report_sample.exact()
    assert "Conv2D, ReLU 25.1 dB" in written(sample, tmp_path)[0].text
    sample["quantization"]["sensitivity"]["layers"][0]["weights_bits"] = 4
    assert "Conv2D, ReLU, weights of 4 bits 25.1 dB" in written(sample, tmp_path)[0].text


def test_the_page_says_at_a_glance_which_layer_hurts_and_what_to_try(tmp_path: Path) -> None:
    sample = report_sample.exact()
    page = written(sample, tmp_path)[0].text
    assert "stem_relu: alone in int8 it leaves 25.1 dB of signal to error in the answers." in page
    assert "Nothing: int8 loses nothing beyond chance." in page
    quantization = sample["quantization"]
    quantization["gate"]["passed"] = False
    page = written(sample, tmp_path)[0].text
    assert "More epochs of qat, or 8 bits where there are 4. Of stem_relu its weights lose most: train it" in page
    quantization["methods"][1]["correct"] = 360
    assert "Calibration alone (method: ptq) is as good" in written(sample, tmp_path)[0].text
    (worst, harmless) = quantization["sensitivity"]["layers"]
    quantization["sensitivity"]["layers"] = [{**worst, "sqnr_db": 41.0, "suggestion": ""}, *[harmless] * 14]
    page = written(sample, tmp_path)[0].text
    assert "None. The most is stem_relu: alone in int8 it leaves 41.0 dB" in page and "5 layers less sensitive" in page


def test_the_page_says_int16x8_where_activations_are_of_int16(tmp_path: Path) -> None:
    sample = report_sample.exact()
    sample["quantization"].update(activations="int16", layers=[], agreement=None)
    [method] = [method for method in sample["quantization"]["methods"] if method["name"] == "ptq"]
    for each in sample["quantization"]["methods"]:
        each["chosen"] = each is method
    method["against_float"] = {"changed": 9, "gained": 1, "lost": 8, "difference": -0.02, "interval": [-0.04, -0.01]}
    page = written(sample, tmp_path)[0].text
    assert "Accuracy, int16x8, PTQ" in page and "int8, PTQ" not in page.replace("int16x8, PTQ", "")
    assert "float32 is right on 356, all layers in int16x8 on 352, at 24.2 dB" in page
    assert "stem_relu: alone in int16x8 it leaves 25.1 dB" in page
    assert "What weights of int8 lose, quantization-aware training may win back (method: qat, " in page


def test_the_page_says_why_layers_were_not_analysed(tmp_path: Path) -> None:
    sample = report_sample.exact()
    sample["quantization"]["sensitivity"].update(reason="90 layers take too long", layers=[])
    assert "Not analysed: 90 layers take too long." in written(sample, tmp_path)[0].text


@pytest.mark.parametrize(
    ("interval", "sentence"),
    [
        ([-0.05, -0.01], "Quantization costs accuracy, beyond chance"),
        ([-0.01, 0.01], "No difference to float32 beyond chance"),
        ([0.01, 0.05], "The int8 model is more accurate than float32, beyond chance"),
    ],
)
def test_a_difference_is_told_from_chance_by_its_interval(interval: list[float], sentence: str, tmp_path: Path) -> None:
    sample = report_sample.exact()
    sample["quantization"]["methods"][2]["against_float"]["interval"] = interval
    assert sentence in written(sample, tmp_path)[0].text


def test_exact_numbers_stand_behind_the_rounded_ones(tmp_path: Path) -> None:
    page, _, _ = written(report_sample.exact(), tmp_path)
    titles = page.values("span", "title")
    assert "24,716 bytes" in titles  # flash
    assert "6,552 bytes" in titles  # RAM 5,840 and stack 712
    assert "179,520" in titles  # MACs


def test_the_arena_picture_has_a_block_a_tensor_within_the_picture(tmp_path: Path) -> None:
    mapping = report_sample.exact()
    mapping["targets"] = mapping["targets"][:1]
    page, _, _ = written(mapping, tmp_path)
    blocks = [attrs for tag, attrs in page.tags if tag == "rect" and attrs["class"].startswith("block")]
    slots = mapping["targets"][0]["arena"]["slots"]
    assert len(blocks) == len(slots)
    left, right, top, bottom = 66.0, 1066.0, 26.0, 326.0
    for block, slot in zip(blocks, slots, strict=True):
        x, y, width, height = (float(block[key]) for key in ("x", "y", "width", "height"))
        assert left <= x and x + width <= right and top - 0.1 <= y and y + height <= bottom + 0.1
        column = 1000 / (14 + 2)  # the steps, and what is before and after them
        assert x == pytest.approx(left + column * (slot["first"] + 1) + 1, abs=0.1)
        assert width == pytest.approx(column * (slot["last"] - slot["first"] + 1) - 2, abs=0.1)
        assert height == pytest.approx(max(2.0, 300 * slot["bytes"] / 5_120), abs=0.1)
    assert "digits/pad/Pad: 1,600 bytes at offset 0, from step 2 to step 3" in page.text


def test_blocks_of_tensors_that_live_at_once_do_not_overlap_in_the_picture(tmp_path: Path) -> None:
    mapping = report_sample.exact()
    mapping["targets"] = mapping["targets"][:1]
    page, _, _ = written(mapping, tmp_path)
    blocks = [
        tuple(float(attrs[key]) for key in ("x", "y", "width", "height"))
        for tag, attrs in page.tags
        if tag == "rect" and attrs["class"].startswith("block") and float(attrs["height"]) > 10
    ]
    assert len(blocks) > 5
    for number, (x, y, width, height) in enumerate(blocks):
        for other_x, other_y, other_width, other_height in blocks[number + 1 :]:
            beside = x + width <= other_x or other_x + other_width <= x
            above = y + height <= other_y + 0.2 or other_y + other_height <= y + 0.2
            assert beside or above


def test_the_page_names_the_first_divergence_and_everything_else_that_is_wrong(tmp_path: Path) -> None:
    page, _, _ = written(report_sample.divergent(), tmp_path)
    assert "Wrong answers on 1 of 2 boards" in page.text
    assert (
        "qemu_cortex_m4 (aot): 7 of 100 samples and 6 of 14 compared layers differ; first in op 4 (CONV_2D), "
        "digits/block_1/pointwise/BiasAdd, sample 17: element 212 is -13, should be -14." in page.text
    )
    assert "qemu_cortex_m4 (aot): on the test set 19 of 360 answers differ from the host's; 353 are right" in page.text
    assert "qemu_cortex_m0 (aot): 6,552 bytes of RAM are needed, the board has 6,144: 408 too many." in page.text
    assert "0.28 percentage points less accurate than the float one; the recipe allows 0.10." in page.text
    assert "✕ 3 of 10 differ" in page.text
    assert "408 B too much" in page.text
    assert "exact on" not in page.text


def test_the_page_says_where_litert_differs_or_why_there_is_none(tmp_path: Path) -> None:
    page, _, _ = written(report_sample.exact(), tmp_path)
    assert "LiteRT differs first in op 10 (FULLY_CONNECTED), hidden/Relu, on sample 41: by at most 1." in page.text
    page, _, _ = written(report_sample.given_model(), tmp_path)
    assert "No LiteRT interpreter beside it: not installed" in page.text


def test_what_verify_prints_is_what_the_report_takes() -> None:
    export = SimpleNamespace(
        runtime="aot",
        macs=1,
        arena_bytes=16,
        weights_bytes=4,
        hidden=(),
        arenas={},
        notes=("Built with it.",),
        model=SimpleNamespace(path="m.tflite", sha256="0"),
    )
    printed = verify.as_json(
        model=export.model,
        board="native",
        export=export,
        golden=SimpleNamespace(source="tflite-micro"),
        verdict=Verdict(1, 1, 4, float("inf"), 1, 1, 1, Divergence(0, 0, "ADD", "sum", 0, 1.0, float("nan"))),
        litert=verify.CrossCheck(reason="not installed"),
        image=SimpleNamespace(flash_bytes=1, ram_bytes=1, model_flash_bytes=1, model_ram_bytes=1),
        instructions=[3, 4, 5],
        stack_bytes=None,
    )
    assert TypeAdapter(report.Verify).validate_python(printed) == printed
    assert report.divergence(printed["first_divergence"]).endswith("element 0 is nan, should be 1.0.")


def test_problems_are_empty_only_if_all_is_well() -> None:
    assert report.problems(report_sample.exact()) == []
    assert report.problems(report_sample.given_model()) == []
    assert len(report.problems(report_sample.divergent())) == 4


@pytest.mark.parametrize(
    "spoil",
    [
        lambda t: t.update(exact=False),
        lambda t: t["device_accuracy"].update(mismatched_samples=1),
        lambda t: t["device_accuracy"].update(correct=354),
        lambda t: t["verify"].update(flash_bytes=(1 << 20) + 1),
        lambda t: t["verify"].update(stack_bytes=(256 << 10) - 5_839),
    ],
)
def test_a_single_fault_makes_the_verdict_and_one_junit_case_fail(spoil: Any, tmp_path: Path) -> None:
    mapping = report_sample.exact()
    spoil(mapping["targets"][0])
    page, _, junit = written(mapping, tmp_path)
    assert "exact on" not in page.text
    assert len(report.problems(mapping)) == 1
    assert len(junit.findall(".//failure")) == 1


def test_junit_has_a_suite_a_target_and_a_case_a_layer(tmp_path: Path) -> None:
    _, _, junit = written(report_sample.exact(), tmp_path)
    assert [suite.get("name") for suite in junit] == ["digits.accuracy", "qemu_cortex_m4.aot", "qemu_cortex_m0.aot"]
    names = [case.get("name", "") for case in junit[1]]
    assert names[0] == "exactness"
    assert names[4] == "layer 3 DEPTHWISE_CONV_2D digits/block_1/depthwise/Relu;digits/block_1/depthwise/BiasAdd"
    assert len([name for name in names if name.startswith("layer ")]) == 14
    assert names[-3:] == ["budget flash", "budget ram", "device accuracy"]
    assert (junit.get("tests"), junit.get("failures"), junit.get("skipped")) == ("37", "0", "0")


def test_junit_failures_carry_the_first_divergence(tmp_path: Path) -> None:
    _, _, junit = written(report_sample.divergent(), tmp_path)
    failed = {case.get("name"): case[0].get("message", "") for case in junit.iter("testcase") if len(case)}
    first = "first in op 4 (CONV_2D), digits/block_1/pointwise/BiasAdd, sample 17: element 212 is -13, should be -14."
    assert failed["exactness"].endswith(first)
    assert failed["layer 4 CONV_2D digits/block_1/pointwise/BiasAdd"] == f"3 of 10 samples differ; {first}"
    assert failed["layer 6 ADD digits/add/add"] == "3 of 10 samples differ."
    assert {"budget ram", "device accuracy", "accuracy gate"} <= set(failed)
    assert junit.get("failures") == str(len(junit.findall(".//failure"))) == "10"


def test_junit_says_what_was_skipped_and_why(tmp_path: Path) -> None:
    _, _, junit = written(report_sample.given_model(), tmp_path)
    skipped = {case.get("name"): case[0].get("message") for case in junit.iter("testcase") if len(case)}
    assert skipped == {"budget flash": "the board has no budget", "budget ram": "the board has no budget"}
    assert junit.get("skipped") == "2"


def hostile(value: Any) -> Any:
    """The same report with every name that files and users choose made hostile, and as a key as well."""
    if isinstance(value, dict):
        return {key: hostile(item) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


@pytest.mark.parametrize("sample", [report_sample.exact, report_sample.divergent, report_sample.given_model])
def test_hostile_names_stay_text(sample: Any, tmp_path: Path) -> None:
    mapping = hostile(sample())
    for key in ("versions", "tools", "hashes", "timing"):
        mapping[key] = {name + HOSTILE: value for name, value in mapping[key].items()}
    for target in mapping["targets"]:
        target["sections"] = {name + HOSTILE: size for name, size in target["sections"].items()}
    page, data, junit = written(mapping, tmp_path)
    clean, _, _ = written(sample(), tmp_path)
    html = (tmp_path / "report.html").read_bytes()
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in clean.tags}
    assert {name for _, attrs in page.tags for name in attrs} == {name for _, attrs in clean.tags for name in attrs}
    assert "<script>alert(1)</script>\"'>&{{7*7}}{%x%}\\u202e\\x00\\x1b[2J\\ud800]]>" in page.text
    assert not re.search(rb"[\x00-\x08\x0b-\x1f]", html)
    assert data == mapping
    assert (
        any(HOSTILE[:25] in case.get("name", "") for case in junit.iter("testcase"))
        or not sample()["targets"][0]["layers"]
    )


def test_equal_reports_give_equal_bytes(tmp_path: Path) -> None:
    def reverse(value: Any) -> Any:
        """The same value with its mappings in another order: equal, so the files have to be."""
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return [reverse(item) for item in value] if isinstance(value, list) else value

    mapping = report_sample.exact()
    turned = {**reverse(mapping), "timing": mapping["timing"]}
    assert turned == mapping
    report.write(mapping, tmp_path / "one")
    report.write(turned, tmp_path / "two")
    for name in ("report.html", "report.json", "junit.xml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_timing_shows_in_one_place_of_the_page_and_not_in_junit(tmp_path: Path) -> None:
    slower = report_sample.exact()
    slower["timing"] = {stage: seconds * 1.7 + 3 for stage, seconds in slower["timing"].items()}
    slower["targets"][0]["verify"]["timing"] = {"seconds": 77.7}
    report.write(report_sample.exact(), tmp_path / "one")
    report.write(slower, tmp_path / "two")
    cut = [
        re.sub(r'<details [^>]*id="timing".*?</details>', "", (tmp_path / run / "report.html").read_text(), flags=re.S)
        for run in ("one", "two")
    ]
    assert cut[0] == cut[1]
    assert "Time:" not in cut[0]
    assert (tmp_path / "one/junit.xml").read_bytes() == (tmp_path / "two/junit.xml").read_bytes()


def test_json_is_the_report_itself_and_never_nan(tmp_path: Path) -> None:
    mapping = report_sample.exact()
    mapping["targets"][0]["kernels"][0]["output_shape"] = (1, 8, 8, 1)
    mapping["quantization"]["history"]["float"]["loss"][3] = float("nan")
    mapping["targets"][0]["verify"]["max_abs_diff"] = float("inf")
    mapping["targets"][0]["verify"]["a_key_of_tomorrow"] = 1
    page, data, _ = written(mapping, tmp_path)
    assert data["quantization"]["history"]["float"]["loss"][3] == "NaN"
    assert data["targets"][0]["verify"]["max_abs_diff"] == "Infinity"
    assert data["targets"][0]["verify"]["a_key_of_tomorrow"] == 1
    assert "nan" not in "".join(page.values("polyline", "points"))
    data["targets"][0]["verify"].pop("a_key_of_tomorrow")
    data["quantization"]["history"]["float"]["loss"][3] = report_sample.exact()["quantization"]["history"]["float"][
        "loss"
    ][3]
    data["targets"][0]["verify"]["max_abs_diff"] = 0
    assert data == report_sample.exact()


def test_a_matrix_of_many_classes_becomes_a_list_of_mistakes(tmp_path: Path) -> None:
    mapping = report_sample.exact()
    classes = report.report_page.MATRIX_CLASSES + 1
    matrix = [[9 if row == column else 0 for column in range(classes)] for row in range(classes)]
    matrix[7][40] = 5
    mapping["quantization"]["confusion"] = matrix
    mapping["labels"] = [f"class {number}" for number in range(classes)]
    page, _, _ = written(mapping, tmp_path)
    assert "41 classes are too many for a picture; the whole matrix is in report.json." in page.text
    assert not any("cell" in attrs.get("class", "") for _, attrs in page.tags)
    assert "class 7class 405" in page.text


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (lambda r: r.pop("model"), "model"),
        (lambda r: r.update(modle=1), "modle"),
        (lambda r: r["targets"][0]["arena"].update(bytes="5120"), "targets.0.arena.bytes"),
        (lambda r: r["targets"][0]["layers"][2].pop("compared"), "targets.0.layers.2.compared"),
        (lambda r: r["targets"][0]["verify"].pop("golden"), "targets.0.verify.golden"),
    ],
)
def test_a_mapping_that_is_no_report_is_refused_by_key_and_nothing_is_written(
    spoil: Any, where: str, tmp_path: Path
) -> None:
    mapping = report_sample.exact()
    spoil(mapping)
    with pytest.raises(ValueError, match=re.escape(where)):
        report.write(mapping, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RequestError, match="the report cannot be written") as error:
        report.write(report_sample.exact(), tmp_path / "file" / "out")
    assert error.value.hint is not None


def test_a_failed_write_leaves_the_old_report_and_no_scraps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report.write(report_sample.exact(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_bytes = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if "junit" in path.name:
            write_bytes(path, data[:100])
            raise OSError(28, "No space left on device")
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(RequestError, match="No space left on device"):
        report.write(report_sample.divergent(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_colours_have_the_contrast_that_wcag_aa_asks_for(theme: str) -> None:
    css = (Path(report.__file__).parent / "templates" / "report.css").read_text(encoding="utf-8")
    roots = re.findall(r":root \{(.*?)\}", css, flags=re.S)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", roots[0 if theme == "light" else 1]))
    tints = dict(re.findall(r"--(right|wrong): (\d+ \d+ \d+);", roots[0 if theme == "light" else 1]))

    def rgb(name: str) -> tuple[float, ...]:
        return tuple(int(colours[name][i : i + 2], 16) for i in (1, 3, 5))

    def over(tint: tuple[float, ...], alpha: float, ground: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(alpha * t + (1 - alpha) * g for t, g in zip(tint, ground, strict=True))

    def luminance(colour: tuple[float, ...]) -> float:
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: tuple[float, ...], two: tuple[float, ...]) -> float:
        dark, light = sorted((luminance(one), luminance(two)))
        return (light + 0.05) / (dark + 0.05)

    text = [(ink, ground) for ink in ("ink", "soft", "link", "good", "bad") for ground in ("card", "bg")]
    text += [(state, f"{state}-bg") for state in ("good", "bad", "note", "idle")]
    text += [("ink", "bad-bg"), ("soft", "bad-bg"), ("c0", "card"), ("c1", "card")]
    for ink, ground in text:
        assert contrast(rgb(ink), rgb(ground)) >= 4.5, (ink, ground)
    for hue in (f"c{number}" for number in range(report.report_page.HUES)):
        assert contrast(rgb(hue), rgb("card")) >= 3, hue
        for ink in ("ink", "soft"):
            assert contrast(rgb(ink), over(rgb(hue), 0.18, rgb("card"))) >= 4.5, (ink, hue)
    for kind, alpha in re.findall(r"\.(right|mistake)\.s\d \{ background: rgb\(var\(--tint\) / (\.\d+)\)", css):
        tint = tuple(float(part) for part in tints["right" if kind == "right" else "wrong"].split())
        assert contrast(rgb("ink"), over(tint, float(alpha), rgb("card"))) >= 4.5, (kind, alpha)
