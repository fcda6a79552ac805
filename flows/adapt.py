"""Continued pre-training, from the lake's articles to a trunk that `finetune` starts from.

A run that was stopped goes on at its last checkpoint when it is run again with the same parameters over the same texts. The held-out losses
before and after stand on the run's page. `adapt_into` does the same without Prefect.
"""

from __future__ import annotations

from pathlib import Path

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.artifacts import concluded
from flows.forms import Named, Workers, form
from flows.forms_adapt import AdaptRecipeForm, Objectives, TextsForm
from flows.operate import logs
from flows.settings import Settings, load, quiet
from tasks.adapt import Adapted, copy_trunk, refuse_to_overwrite
from tasks.adapt import adapt as adapt_trunk

TRUNK = "minilm"
STORAGE = "adapting"


@form
@flow(name="adapt", flow_run_name="adapt {trunk}")
def adapt(
    objectives: Objectives = ("whole_word",),
    texts: TextsForm = TextsForm(),  # noqa: B008
    recipe: AdaptRecipeForm = AdaptRecipeForm(),  # noqa: B008
    trunk: Named = TRUNK,
    output: str | None = None,
    workers: Workers = 1,
    settings_file: str | None = None,
) -> Adapted:
    """Let a trunk read texts without labels, so that it knows their field before it is fine-tuned.

    Args:
        objectives: What is learnt: one of mlm, whole_word, span (with span_boundary beside it, if wanted), and one of next_sentence, sentence_order.
        texts: The articles and files to read.
        recipe: Changes to the recipe.
        trunk: The encoder to start from: minilm, a directory on the worker, or a hub name where the settings allow the hub.
        output: A directory on the worker for the adapted trunk. Empty: it stays in the settings' home, and the run's page says where.
        workers: Ray Train workers, which average their gradients; 0 adapts in the flow's own process.
        settings_file: A TOML settings file on the worker. Empty: NIGHTDESK_SETTINGS, nightdesk.toml, or the shipped sample's.
    """
    quiet()
    settings = load(settings_file)
    logs.begin(settings.operate.log_format)
    if output:
        refuse_to_overwrite(Path(output))
    done = adapt_trunk(
        texts.source(settings.lake),
        trunk=trunk,
        recipe=recipe.recipe(objectives),
        storage=str(settings.home / STORAGE),
        cluster=settings.cluster,
        workers=workers,
        allow_hub=settings.allow_hub,
    )
    if output:
        copy_trunk(Path(done.trunk), Path(output))
    place = output or done.trunk
    get_run_logger().info("%s after %d steps -> %s", losses(done), done.steps, place)
    _show(done, place)
    return concluded(done)


def adapt_into(
    output: Path,
    *,
    objectives: tuple[str, ...],
    texts: TextsForm,
    recipe: AdaptRecipeForm,
    settings: Settings,
    trunk: str = TRUNK,
    workers: int = 1,
) -> Adapted:
    """Adapt a trunk and leave it in `output`. Needs no Prefect server."""
    refuse_to_overwrite(output)
    done = adapt_trunk.fn(
        texts.source(settings.lake),
        trunk=trunk,
        recipe=recipe.recipe(objectives),
        storage=str(settings.home / STORAGE),
        cluster=settings.cluster,
        workers=workers,
        allow_hub=settings.allow_hub,
    )
    copy_trunk(Path(done.trunk), output)
    return done


def losses(done: Adapted) -> str:
    """The held-out losses before and after, in a line."""
    return ", ".join(
        f"{name} {before:.3f} -> {done.after[name]:.3f}"
        for name, before in done.before.items()
        if name.endswith(".loss")
    )


def _show(done: Adapted, place: str) -> None:
    """The held-out figures before and after, and where the trunk lies, on the run's page."""
    table = [
        {"figure": name, "before": round(before, 4), "after": round(done.after[name], 4)}
        for name, before in sorted(done.before.items())
    ]
    create_table_artifact(table, key="adapt-figures", description=f"on {done.held_out} held-out documents")
    said = (
        f"The trunk is in `{place}`: {done.steps} steps over {done.learnt} documents, {done.held_out} held out, "
        f"{done.repeated} repeats and {done.unreadable} blank or unreadable ones left out, and {done.excepted} that hold an excepted text."
    )
    create_markdown_artifact(said, key="adapt-trunk", description="What was adapted")
