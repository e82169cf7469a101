"""The `hogwild` command as its user calls it, on a tiny model."""

import json
import os
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import hogwild_dist
from hogwild_dist.deploy.cli.app import COMMANDS
from hogwild_dist.team.presets.files import team_text
from tests.paths import ROOT


def test_help_teaches_the_tool(hogwild) -> None:
    done = hogwild("--help")
    assert done.code == 0
    for word in ("run", "replay", "check", "models", "--trace", "--workers 4 --json"):
        assert word in done.out
    assert "--visibility" in hogwild("run", "--help").out


def test_a_piped_run_prints_labelled_lines(hogwild, tiny_dir: Path) -> None:
    done = hogwild("run", "Count!", "--model", tiny_dir, "--max-tokens", 8)
    assert done.code == 0
    assert "Alice" in done.out
    assert "Bob" in done.out
    assert "\x1b[" not in done.out


def test_json_is_one_event_a_line(hogwild, tiny_dir: Path) -> None:
    done = hogwild(
        "run", "Count!", "--model", tiny_dir, "--max-tokens", 5, "--json",
        "--worker", "Ann", "--worker", "Ben", "--worker", "Cat", "--layout", "contiguous",
    )  # fmt: skip
    events = [json.loads(line) for line in done.out.splitlines()]
    texts = [e for e in events if e["type"] == "text" and e["chosen"]]
    assert {e["name"] for e in texts} == {"Ann", "Ben", "Cat"}
    assert sum(len(e["token_ids"]) for e in texts) == 15
    assert set(texts[0]) == {"type", "step", "worker", "name", "token_ids", "text", "chosen"}
    assert events[-1] == {"type": "session_end", "step": 5, "reason": "all_stopped"}


def test_a_model_s_own_sampling_is_used_where_the_user_names_none(
    hogwild, tiny_dir: Path, tmp_path: Path
) -> None:
    model, trace = tmp_path / "model", tmp_path / "run.json"
    shutil.copytree(tiny_dir, model)
    recommended = {"do_sample": True, "temperature": 0.6, "top_k": 20, "top_p": 0.95}
    (model / "generation_config.json").write_text(json.dumps(recommended))

    def sampled(*options: object) -> tuple[str, dict[str, float]]:
        done = hogwild(
            "run", "Count!", "--model", model, "--max-tokens", 2, "--trace", trace, *options
        )
        assert done.code == 0, done.err
        used = json.loads(trace.read_text())["sampling"][0]
        return done.err, {key: used[key] for key in ("temperature", "top_k")}

    said, used = sampled()
    assert "recommends: temperature 0.6, top_p 0.95, top_k 20" in said
    assert used == {"temperature": 0.6, "top_k": 20}
    assert sampled("--top-k", 3)[1] == {"temperature": 0.6, "top_k": 3}
    said, used = sampled("--temperature", 0)
    assert used["temperature"] == 0
    assert "recommends" not in said


def test_the_problem_can_come_from_standard_input(
    hogwild, tiny_dir: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "problem.txt"
    path.write_text("Count to three.")
    trace = tmp_path / "t.json"
    with path.open() as file:
        monkeypatch.setattr(sys, "stdin", file)
        done = hogwild("run", "-", "--model", tiny_dir, "--max-tokens", 2, "--trace", trace)
    assert done.code == 0
    assert "Count to three." in json.loads(trace.read_text())["prefill"]["common"]["text"]


@pytest.mark.parametrize("layout", ["combined", ROOT / "docs" / "examples" / "critic.toml"])
def test_a_recorded_run_replays(hogwild, tiny_dir: Path, tmp_path: Path, layout: object) -> None:
    trace, logits = tmp_path / "run.json", tmp_path / "logits.json"
    done = hogwild(
        "run", "Count!", "--model", tiny_dir, "--layout", layout, "--max-tokens", 30,
        "--worker", "Ann", "--worker", "Critic", "--temperature", 0.8, "--seed", 4,
        "--trace", trace, "--json",
    )  # fmt: skip
    assert done.code == 0
    done = hogwild("replay", trace, "--model", tiny_dir, "--logits", logits)
    assert done.code == 0, done.out
    (verdict,) = done.out.splitlines()
    assert "0 rows differ" in verdict
    *rows, last = hogwild("replay", trace, "--model", tiny_dir, "--verbose").out.splitlines()
    assert last == verdict
    assert len([row for row in rows if row.endswith("same token  ok")]) == len(rows) > 50
    steps, written = (json.loads(path.read_text())["steps"] for path in (trace, logits))
    assert [[row["worker"] for row in step["rows"]] for step in written] == [[0, 1]] * len(steps)
    assert written[3]["rows"][1]["logits"] == pytest.approx(steps[3]["top_logits"][1], abs=1e-4)
    assert hogwild("replay", trace, "--model", tiny_dir, "--free").code == 0


def test_a_step_s_size_comes_from_the_options_then_from_the_recording(
    hogwild, tiny_dir: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "run.json"
    small = ("--max-step-tokens", 20, "--prefill-chunk", 7)
    done = hogwild(
        "run", "Count!", "--model", tiny_dir, "--max-tokens", 3, "--trace", trace, *small
    )
    assert done.code == 0
    raw = json.loads(trace.read_text())
    assert raw["max_step_tokens"] == 20
    assert max(len(ids) for step in raw["steps"] for ids in step["input_ids"]) <= 20
    common = ("replay", trace, "--model", tiny_dir)
    assert hogwild(*common).code == 0
    wider = hogwild(*common, "--max-step-tokens", 2_048)
    assert wider.code != 0


def test_a_recording_is_replayed_in_its_own_dtype(hogwild, tiny_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "run.json"
    options = ("--model", tiny_dir, "--max-tokens", 4, "--dtype", "bfloat16", "--trace", trace)
    assert hogwild("run", "x", *options).code == 0
    assert hogwild("replay", trace, "--model", tiny_dir).code == 0
    assert hogwild("replay", trace, "--model", tiny_dir, "--dtype", "float32").code == 1


def test_a_replay_that_differs_exits_with_1(hogwild, tiny_dir: Path, tmp_path: Path) -> None:
    trace = tmp_path / "run.json"
    hogwild("run", "x", "--model", tiny_dir, "--max-tokens", 4, "--trace", trace)
    raw = json.loads(trace.read_text())
    raw["steps"][2]["top_logits"][1][3] += 0.1
    raw["steps"][3]["new"][0] += 1
    trace.write_text(json.dumps(raw))
    done = hogwild("replay", trace, "--model", tiny_dir)
    assert done.code == 1
    assert [line.split()[1] for line in done.out.splitlines() if "DIFFERS" in line] == ["2"]
    done = hogwild("replay", trace, "--model", tiny_dir, "--free")
    assert done.code == 1
    assert "step    3  tokens: " in done.out


BAD = [
    (["run", "x", "--model", "no-such-model"], "There is no model 'no-such-model'"),
    (["run", "x", "--model", "{gpt2}"], "learned positions"),
    (["run", "x", "--layout", "ring"], "Unknown layout 'ring'"),
    (["run", "", "--model", "{tiny}"], "The problem is empty"),
    (["run", "x", "--workers", "0"], "0 workers were requested"),
    (["run", "x", "--workers", "17"], "17 workers were requested"),
    (["run", "x", "--worker", "A", "--worker", "A"], "Two workers are called 'A'"),
    (["run", "x", "--worker", "A", "--workers", "2"], "leave one of them out"),
    (["run", "x" * 5000, "--model", "{tiny}"], "the context of"),
    (["run", "x" * 300, "--model", "{tiny}", "--cache-tokens", "200"], "the KV cache holds 200"),
    (["run", "x", "--temperature", "-1"], "temperature is -1.0"),
    (["run", "x", "--temperature", "1e999"], "temperature is inf"),
    (["run", "x", "--top-p", "nan"], "top_p is nan"),
    (["run", "x", "--min-p", "-inf"], "min_p is -inf"),
    (["run", "x", "--repetition-penalty", "inf"], "repetition_penalty is inf"),
    (["run", "x", "--top-k", "9" * 400], "; it must be a whole number from 0 (off)"),
    (["run", "x", "--max-tokens", "0"], "max_tokens is 0"),
    (["run", "x", "--threads", "0"], "threads is 0"),
    (["run", "x", "--shards", "0"], "shards is 0"),
    (["run", "x", "--max-step-tokens", "0"], "max_step_tokens is 0; it must be at least 1"),
    (["run", "x", "--prefill-chunk", "0"], "prefill_chunk is 0; it must be at least 1"),
    (["job", "p.jsonl", "r.jsonl", "--prefill-chunk", "0"], "prefill_chunk is 0"),
    (["eval", "d.jsonl", "--grader", "number", "--prefill-chunk", "0"], "prefill_chunk is 0"),
    (["replay", "{golden}", "--prefill-chunk", "0"], "prefill_chunk is 0"),
    (["serve", "--prefill-chunk", "0"], "prefill_chunk is 0"),
    (["group", "start", "g", "--prefill-chunk", "0"], "prefill_chunk is 0"),
    (["run", "x", "--model", "{tiny}", "--dtype", "int4"], "Unknown dtype 'int4'"),
    (["run", "x", "--model", "{tiny}", "--device", "toaster"], "Unknown device 'toaster'"),
    (
        ["run", "x", "--model", "{tiny}", "--device", "cpu", "--exchange-backend", "nccl"],
        "exchange_backend is nccl, which needs a GPU, and the device is cpu",
    ),
    (["run", "x", "--prompts", "none.toml"], "Prompts 'none.toml' is not a folder"),
    (["run", "x", "--model", "{tiny}", "--trace", "no/dir/t.json"], "cannot be written"),
    (["run", "x", "--visibility", "later"], "later"),
    (["replay", "none.json"], "Trace 'none.json' cannot be read"),
    (["replay", "{golden}", "--model", "{tiny}"], "has 258 tokens"),
    (["replay", "{golden}", "--free", "--logits", "x.json"], "leave out --free"),
    (["replay", "{golden}", "--free", "--verbose"], "leave out --free"),
    (["check", "{gpt2}"], "learned positions"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD, ids=lambda value: str(value)[:60])
def test_bad_input_is_one_sentence_and_exit_code_2(
    hogwild, tiny_dir: Path, gpt2_dir: Path, arguments: list[str], sentence: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    golden = ROOT / "tests" / "data" / "golden" / "a_contiguous_2w.json"
    filled = [a.format(tiny=tiny_dir, gpt2=gpt2_dir, golden=golden) for a in arguments]
    done = hogwild(*filled)
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "where"),
    [
        (signal.SIGINT, ["--device", "cpu"]),
        (signal.SIGTERM, ["--device", "cpu"]),
        (signal.SIGTERM, ["--shards", "1"]),  # Ray has set a handler of its own
    ],
)
def test_ctrl_c_and_sigterm_keep_the_text_and_the_trace(
    sent: signal.Signals, where: list[str], tiny_dir: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "run.json"
    code = "from hogwild_dist.deploy.cli.main import main; main()"
    command = [
        "env", "--default-signal=INT",  # CI may ignore it, and children inherit that
        sys.executable, "-c", code, "run", "Count!", "--model", str(tiny_dir),
        "--max-tokens", "100000", "--layout", "independent", "--json", "--trace", str(trace),
        *where,
    ]  # fmt: skip
    with subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        lines = [process.stdout.readline() for _ in range(60)]
        os.kill(process.pid, sent)
        rest, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "Stack" not in err
    events = [json.loads(line) for line in [*lines, *rest.splitlines()]]
    raw = json.loads(trace.read_text())
    assert raw["final"]["reason"] == "cancelled"
    shown = sum(e["type"] == "text" and e["chosen"] and e["worker"] == 0 for e in events)
    assert abs(len(raw["steps"]) - shown) <= 1


@pytest.mark.parametrize(
    ("module", "word", "under_way"),
    [
        ("hogwild_dist.deploy.cli.app", "run", "torch"),
        ("hogwild_dist.deploy.cli.main", "--help", "click"),
    ],
)
def test_ctrl_c_while_the_tool_starts_says_nothing(module: str, word: str, under_way: str) -> None:
    code = f"import sys; from {module} import main; sys.argv = ['hogwild', '{word}', '']; main()"
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", "-c", code], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    assert any(under_way in line for line in process.stderr), f"{under_way} was never imported"
    process.send_signal(signal.SIGINT)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in rest


def test_prompts_are_shown_and_exported(hogwild, tiny_dir: Path, tmp_path: Path) -> None:
    assert "rules_second.jinja" in hogwild("prompts", "show").out
    folder = tmp_path / "mine"
    assert hogwild("prompts", "export", folder).code == 0
    (folder / "blocks" / "separator.jinja").write_text("mine alone")
    problem = "Why is this line so long? " * 20
    shown = hogwild("prompts", "show", problem, "--prompts", folder, "--model", tiny_dir)
    assert "mine alone" in shown.out
    assert problem.strip() in shown.out
    assert "Bob sees: common, header, Alice's text, separator, Bob's text" in shown.out
    assert "\nAlice's text ─" in shown.out
    again = hogwild("prompts", "export", folder)
    assert again.code == 2
    assert "exists; name a new folder" in again.err


def test_an_attention_kernel_is_chosen_by_name(hogwild, tiny_dir: Path) -> None:
    words = ("run", "Count!", "--model", tiny_dir, "--max-tokens", 4, "--device", "cpu")
    done = hogwild(*words, "--attention", "flash9")
    assert done.code == 2
    assert "Unknown attention kernel 'flash9'; use cpu-flash, triton, matmul" in done.err
    names = ("matmul", "cpu-flash")
    texts = {name: hogwild(*words, "--json", "--attention", name).out for name in names}
    assert texts["matmul"] == texts["cpu-flash"] != ""


def test_the_version_is_shown(hogwild) -> None:
    assert hogwild("--version").out == f"hogwild {version('hogwild-dist')}\n"


def test_deployment_files_are_written_and_kept(hogwild, tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    assert hogwild("deploy-files", folder).code == 0
    assert (folder / "ray_cluster.yaml").read_text() == (ROOT / "ray_cluster.yaml").read_text()
    mine = folder / "serve.yaml"
    mine.write_text("mine")
    again = hogwild("deploy-files", folder)
    assert again.code == 2
    assert "exists; choose another folder, or overwrite with --force" in again.err
    assert mine.read_text() == "mine"
    assert hogwild("deploy-files", folder, "--force").code == 0
    assert mine.read_text() == (ROOT / "deploy" / "serve.yaml").read_text()
    assert "cannot be written" in hogwild("deploy-files", mine).err


def test_a_team_that_is_saved_from_the_screen_is_the_same(hogwild) -> None:
    shown = hogwild("teams", "show", "coordinator").out
    assert shown.rstrip() == team_text("coordinator").rstrip()


def test_teams_are_listed_and_shown(hogwild) -> None:
    assert "solver-critic" in hogwild("teams").out
    assert "[[workers]]" in hogwild("teams", "show", "coordinator").out
    assert "Unknown team 'zoo'" in hogwild("teams", "show", "zoo").err


def test_a_team_with_roles_is_asked_for_an_answer(hogwild, tiny_dir: Path) -> None:
    done = hogwild(
        "run", "Count!", "--model", tiny_dir, "--team", "solver-critic", "--answer", "zzz",
        "--max-tokens", 6, "--finisher-tokens", 4, "--budgets", "2,4",
    )  # fmt: skip
    assert done.code == 0
    assert done.out.count("The answer of the team") == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--budgets", "2"], "need --answer, the mark of an answer"),
        (["--answer", "boxed", "--budgets", "x"], "--budgets is 'x'"),
        (["--answer", "("], "is not a regular expression"),
        (["--answer", "boxed", "--budgets", "999"], "budget of 999 steps cannot be reached"),
        (["--team", "zoo"], "Unknown team 'zoo'"),
        (["--team", "solver-critic", "--workers", "1"], "has 2 roles"),
        (["--person", "third"], "'--person'"),
        (["--prompt-as", "assistant"], "'--prompt-as'"),
    ],
)
def test_bad_teams_and_answers_are_one_sentence(hogwild, arguments: list, sentence: str) -> None:
    done = hogwild("run", "Count!", *arguments)
    assert done.code == 2
    assert sentence in done.err
    assert "Traceback" not in done.err


def test_a_model_that_computes_nonsense_ends_the_run(
    hogwild, damaged_dir: Path, tmp_path: Path
) -> None:
    trace = tmp_path / "t.json"
    common = ("--model", damaged_dir, "--max-tokens", 4, "--trace", trace)
    assert hogwild("run", "Count!", *common).code == 0
    for options in ((), ("--temperature", 1), ("--visibility", "overlapped")):
        done = hogwild("run", "Count to ~!", *common, *options)
        assert done.code == 2
        assert "The model's scores for 'Alice' are not numbers" in done.err
        assert json.loads(trace.read_text())["final"]["reason"] == "failed"
        assert "Traceback" not in done.err


def test_help_imports_nothing_that_takes_time() -> None:
    program = (
        "import sys, hogwild_dist.deploy.cli.app; "
        "print({'torch', 'transformers', 'ray'} & {*sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_said_about_a_command_is_what_it_says_itself(hogwild, name: str) -> None:
    about, own = COMMANDS[name].about, hogwild(name, "--help").out
    assert " ".join(about.split()) in " ".join(own.split())
    assert about.split()[0] in hogwild("--help").out


def test_a_command_that_there_is_not(hogwild) -> None:
    done = hogwild("rum")
    assert done.code == 2
    assert "Did you mean 'run'?" in done.err


@pytest.mark.parametrize("name", hogwild_dist.__all__)
def test_what_the_package_names_is_there(name: str) -> None:
    assert getattr(hogwild_dist, name) is not None
    assert name in dir(hogwild_dist)
