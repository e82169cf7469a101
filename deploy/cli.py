"""The `hogwild` command."""

import sys

import typer
from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from deploy import group, models, prompts, serve, teams
from deploy.check import check_command
from deploy.evaluate import eval_command
from deploy.replay import replay_command
from deploy.report import report_command
from deploy.run import run_command
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
  hogwild report results.jsonl
      its plots and transcripts as one page
  hogwild serve
      a page, and OpenAI's interface, for many clients at once
  hogwild teams
      which teams there are
  hogwild prompts show "..."
      what the workers read before they write
  hogwild models
      what is in the model cache
"""

app = typer.Typer(
    help=HELP,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("run")(run_command)
app.command("replay")(replay_command)
app.command("check")(check_command)
app.command("eval")(eval_command)
app.command("report")(report_command)
app.command("serve")(serve.serve_command)
app.add_typer(models.app, name="models")
app.add_typer(teams.app, name="teams")
app.add_typer(prompts.app, name="prompts")
app.add_typer(group.app, name="group")
app.add_typer(serve.keys, name="keys")


def main() -> None:
    """Run the command line: errors are one sentence on standard error and exit code 2."""
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    hub_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        app()
    except HogwildError as error:
        print(f"hogwild: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
