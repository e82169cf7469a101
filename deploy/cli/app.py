"""The `hogwild` command."""

import sys
from importlib.metadata import version
from typing import Annotated

import typer

from hogwild_dist.deploy.cli.lazy import Stub, lazy_app
from hogwild_dist.deploy.cli.output import check_working_folder, guarded_output
from hogwild_dist.errors import HogwildError

HELP = """Several instances of one language model think together.

Each worker writes its own text and reads the others' words while they are being written, through
one shared key-value cache.

\b
  hogwild run "Name three fruits and three animals."
      two workers, side by side
  hogwild run "..." --worker Ann --worker Ben --layout interleaved
      names and layout of your choice
  hogwild run "..." --temperature 0.5 --repetition-penalty 1.1
      small models repeat themselves less
  hogwild run "..." --workers 4 --json | jq .text
      one event a line
  hogwild run "..." --trace run.json
      record every step
  hogwild replay run.json
      compare a recording with the engine
  hogwild check Qwen/Qwen3-0.6B
      can this model share its cache?
  hogwild run "..." --workers 4 --shards 2
      the workers on two Ray actors
  hogwild run "..." --team solver-critic --answer boxed
      a team with roles; an announced answer ends it
  hogwild eval questions.jsonl --grader number --teams peers,independent
      how often teams are right
  hogwild job problems.jsonl results.jsonl
      a batch of problems; a stopped job resumes
  hogwild report results.jsonl
      its plots and transcripts as one page
  hogwild serve
      a page, and OpenAI's interface, for many clients at once
  hogwild teams
      list the teams
  hogwild prompts show "..."
      what the workers read before they write
  hogwild models
      what is in the model cache
  hogwild deploy-files DIR
      files for `ray up`, Kubernetes, `serve deploy` and Grafana
"""

COMMANDS = {
    "run": Stub(
        "run:run_command",
        "Let a team work on PROBLEM and watch it think.",
    ),
    "replay": Stub("replay:replay_command", "Replay TRACE and compare it with the engine."),
    "check": Stub(
        "check:check_command",
        "Check whether MODEL can share its cache.",
    ),
    "eval": Stub(
        "evaluate:eval_command",
        "Evaluate teams on the questions of DATA.",
    ),
    "job": Stub(
        "job:job_command",
        "Let a team work on every problem of PROBLEMS.",
    ),
    "report": Stub(
        "report:report_command",
        "Print the table of RESULTS, and write its page and plots.",
    ),
    "serve": Stub(
        "serve:serve_command",
        "Serve teams to many clients: a page, and OpenAI's interface.",
    ),
    "models": Stub("models:app", "List, fetch and find models."),
    "teams": Stub("teams:app", "List teams and show their files."),
    "prompts": Stub("prompts:app", "Show and export the prompt templates."),
    "group": Stub(
        "group:app",
        "Manage groups of shards that outlive a run.",
    ),
    "keys": Stub("keys:app", "Make keys for the service's clients."),
    "deploy-files": Stub(
        "deploy_files:deploy_files_command",
        "Write files for clusters, the service and Grafana to FOLDER.",
    ),
}

app = lazy_app(COMMANDS, HELP)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"hogwild {version('hogwild-dist')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # shown by its callback
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Define the options that precede a command."""


def main() -> None:
    """Run the command line; an error is one sentence on standard error and exit code 2."""
    try:
        check_working_folder()
        with guarded_output():
            app()
    except HogwildError as error:
        print(f"hogwild: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
