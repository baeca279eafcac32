"""A configuration must not execute code, read the environment or explode, whoever wrote it; each refusal within a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tme_sim.config.compose import compose
from tme_sim.config.overrides import expand, read_single
from tme_sim.config.safety import LARGEST_FILE, LAUNCHER_KEYS, check_override, read_checked
from tme_sim.state.errors import InputErrors


@contextmanager
def within_a_second() -> Iterator[None]:
    start = time.process_time()  # of this process alone: other work on the machine does not count
    yield
    assert time.process_time() - start < 1


def refusals(folder: Path, text: str) -> str:
    path = folder / "x.yaml"
    path.write_text(text, encoding="utf-8")
    with within_a_second():
        content, _, errors = read_checked(path)
    assert bool(errors) != bool(content)
    return "\n".join(map(str, errors))


BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))

REFUSED: list[tuple[str, str]] = [
    ("a:\n  _target_: os.system\n", ":2: `_target_` would execute code"),
    ('a: {"\\x5ftarget_": os.system}\n', ":1: `_target_` would execute code"),
    ("hydra:\n  run: {dir: /tmp}\n", ":1: hydra: Hydra's own settings are refused"),
    ("a:\n  hydra.job: x\n", ":2: hydra.job: Hydra's own settings"),
    ("defaults:\n  - override hydra/launcher: joblib\n", ":2: override hydra/launcher: Hydra's own"),
    ("defaults:\n  - /hydra/launcher/basic\n", ":2: /hydra/launcher/basic: Hydra's own"),
    ("defaults:\n  - tissue@_global_.hydra.job: x\n", "Hydra's own settings"),
    ("# @package hydra.job\na: 1\n", ":1: the package hydra.job belongs to Hydra"),
    ("# words first\n#  @package _global_.hydra\na: 1\n", "the package _global_.hydra belongs to Hydra"),
    ("a: ${oc.env:HOME}\n", ":1: only whole interpolations of keys, such as ${lattice.size}"),
    ("a: ${b.${c}}\n", "only whole interpolations"),
    ("a: ${${b}:x}\n", "only whole interpolations"),
    ("a: 'x ${b}${b}'\n", "only whole interpolations"),
    ("defaults:\n  - tissue: ${oc.env:HOME}\n", "only whole interpolations"),
    ("a: ${hydra.job.name}\n", "Hydra's own settings are not read from here"),
    ("a: !!python/object/apply:os.system [ls]\n", ":1: tags such as tag:yaml.org,2002:python/object/apply:os.system are refused"),
    ("a: !new x\n", "tags such as !new are refused"),
    ("%TAG ! tag:x,2000:\n---\na: 1\n", "one document, without directives"),
    ("a: 1\n---\nb: 2\n", "one document"),
    ("a: 1\nb: {c: 2, c: 3}\n", ":2: the key c appears twice"),
    ("? [a, b]\n: 1\n", "a key must be plain text"),
    ("a: [1,\n", "is not valid YAML"),
    ("a: 'b\n", "is not valid YAML"),
    ("\ta: b\n", "is not valid YAML"),
    ("a: \x07\n", "is not valid YAML"),
    ("<<: 5\n", "is not valid YAML"),
    ("- a\n", "must hold keys and values"),
    ("just text\n", "must hold keys and values"),
    (BOMB, "holds more than 20000 values (aliases expanded)"),
    ("a: &a [*a]\n", "holds more than 20000 values"),
    ("[" * 400_000, "or 50 levels"),
    ("a: " + "{b: " * 200_000, "or 50 levels"),
    ("- " * 300_000, "or 50 levels"),
    ("a:\n" + "- x\n" * 250_000, "holds more than 20000 values"),
    ("a: " + "9" * 10_000 + "\n", "is not valid YAML"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_dangerous_and_broken_files_are_refused_in_time(tmp_path: Path, text: str, message: str) -> None:
    assert message in refusals(tmp_path, text)


@pytest.mark.parametrize("filler", [" ", "\n", "#", "# @package a\n", "${", "a: ${b.", "'"])
def test_a_full_mebibyte_of_anything_is_read_in_time(tmp_path: Path, filler: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text((filler * (LARGEST_FILE // len(filler)))[:LARGEST_FILE])
    with within_a_second():
        read_checked(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    with path.open("wb") as file:
        file.truncate(100 * 2**20)
    with within_a_second():
        assert str(read_checked(path).errors[0]) == f"{path} of 100.0 MiB: a configuration file holds at most 1 MiB"


def test_what_is_no_plain_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero"), tmp_path):
        with within_a_second():
            assert "is not a plain file" in str(read_checked(path).errors[0])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_bytes(b"a: \xff\xfe\n")
    assert "UTF-8" in str(read_checked(tmp_path / "x.yaml").errors[0])


def test_all_refusals_of_a_file_are_told(tmp_path: Path) -> None:
    assert len(refusals(tmp_path, "hydra: 1\na: ${x:y}\nb: !z 1\n").splitlines()) == 3


def test_ordinary_files_pass_and_plain_scalars_are_read_as_in_yaml_1_2(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(
        "# a comment\n# @package _global_\ndefaults:\n  - override /tissue: ${a}_${b}\nbase: &base {p: 1e-3, q: .5}\n"
        "more:\n  <<: *base\n  yes: yes\n  time: 1:30\n  octal: 010\n  n: null\n  t: true\n  r: ${base.p}\n  s: 65 nm\n"
        "  hydrogel: 1\n"
    )
    content, package, errors = read_checked(path)
    assert not errors
    assert package == "_global_"
    expected = {"yes": "yes", "time": "1:30", "octal": "010", "n": None, "t": True, "r": "${base.p}", "s": "65 nm", "hydrogel": 1}
    assert content["more"] == {"p": 1e-3, "q": 0.5} | expected


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("hydra.run.dir=x", "hydra.run.dir x: Hydra's own settings are not for users"),
        ("+hydra.callbacks.x._target_=os.system", "Hydra's own settings"),
        ("++hydra.job.chdir=true", "Hydra's own settings"),
        ("hydra/launcher=joblib", "Hydra's own settings"),
        ("hydra={run: {dir: x}}", "Hydra's own settings"),
        ("tissue@hydra.job=x", "Hydra's own settings"),
        ("hydra.launcher.timeout_min=$(reboot)", "Hydra's own settings"),
        ("hydra.launcher.setup=[reboot]", "Hydra's own settings"),
        ("a={_target_: os.system}", "`_target_` would execute code"),
        ("a._target_=os.system", "`_target_` would execute code"),
        ("a=${oc.env:HOME}", "only whole interpolations"),
        ("a='${oc.env:HOME}'", "only whole interpolations"),
        ("a=[${oc.env:HOME}]", "only whole interpolations"),
        ("a=$\\{oc.env\\:HOME\\}", "an escaped interpolation is refused"),
        ("a=${b}${b}", "only whole interpolations"),
        ("a=b\nc", "printable characters"),
        ("a=" + "x" * 5000, "at most 2000 printable characters"),
        ("a=" + "[" * 900, "more than 50 brackets"),
        ("a=" + "{b:" * 400, "more than 50 brackets"),
    ],
)
def test_dangerous_overrides_are_refused_in_time(override: str, message: str) -> None:
    readers: list[Callable[[str], object]] = [read_single, lambda text: expand([text])]
    for read in readers:
        with within_a_second(), pytest.raises(InputErrors) as failure:
            read(override)
        assert message in str(failure.value)


@pytest.mark.parametrize(
    "override", ["a=" + "x," * 999, "a=" + "(" * 50 + ")" * 50, "a=" + "[" * 50 + "]" * 50, "a=" + "f(" * 50, "a=" + "1." * 999]
)
def test_long_overrides_are_read_or_refused_in_time(override: str) -> None:
    with within_a_second():
        try:
            read_single(override)
        except InputErrors as failure:
            assert failure.errors  # noqa: PT017 - either outcome is fine, in time


def test_the_settings_of_a_launcher_are_allowed_and_are_no_part_of_the_configuration() -> None:
    for key in LAUNCHER_KEYS:
        assert not check_override(f"{key}=gpu-2")
        assert read_single(f"{key}=60") is None
    assert expand(["a=1,2", "hydra.launcher.timeout_min=60"]) == [["a=1"], ["a=2"]]


def test_innocent_overrides_pass() -> None:
    for override in ("a=${lattice.size}", "note=hydrate", "hydrogel.size=1um", "a.my_target_file=x", "a='[(]'"):
        assert not check_override(override)


def conf(folder: Path, text: str) -> Path:
    (folder / "config.yaml").write_text(text)
    return folder


def test_interpolations_that_explode_or_go_in_circles_end_in_time(tmp_path: Path) -> None:
    doubling = "a0: {x: 1}\n" + "".join(f"a{n}: {{l: '${{a{n - 1}}}', r: '${{a{n - 1}}}'}}\n" for n in range(1, 40))
    for text in (doubling, "a: {b: '${a}', c: '${a}'}\n", "a: ${b}\nb: ${c}\nc: ${a}\n", "a: ${a}\n"):
        with within_a_second(), pytest.raises(InputErrors, match=r"refers to (itself|a key that is not there)"):
            compose([conf(tmp_path, text)], [])


def test_defaults_that_go_in_circles_end_in_time(tmp_path: Path) -> None:
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "a.yaml").write_text("defaults: [b]\n")
    (tmp_path / "g" / "b.yaml").write_text("defaults: [a]\n")
    with within_a_second(), pytest.raises(InputErrors, match="refer to each other in a circle") as refused:
        compose([conf(tmp_path, "defaults: [{g: a}, _self_]\n")], [])
    assert str(refused.value).endswith(f"({tmp_path / 'g' / 'a.yaml'}, {tmp_path / 'g' / 'b.yaml'})")


def test_files_outside_the_configuration_are_out_of_reach(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("password: 1\n")
    (tmp_path / "conf" / "g").mkdir(parents=True)
    (tmp_path / "conf" / "g" / "a.yaml").write_text("b: 1\n")
    root = conf(tmp_path / "conf", "defaults: [{g: a}, ../secret, _self_]\n")
    with pytest.raises(InputErrors, match="secret"):
        compose([root], [])
    conf(root, "defaults: [{g: a}, _self_]\n")
    with pytest.raises(InputErrors, match="is not a choice of g"):
        compose([root], [], overrides=["g=../../secret"])
