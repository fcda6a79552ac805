"""What is trained when nobody says how."""

import pytest

from data_contracts.labels import TASKS
from models.plans import BEST, Plan, plan_for
from models.recipe import Recipe, RecipeRefused, recipe_for


def test_every_task_has_a_best_plan() -> None:
    assert set(BEST) == set(TASKS)


def test_changes_go_into_the_recipe_and_the_rest_of_the_plan_stays() -> None:
    plan = plan_for(("ner",), "best", epochs=2)
    assert plan.recipe.epochs == 2
    assert plan.recipe.crf is BEST["ner"].recipe.crf
    assert plan_for(("sentiment", "ner")).recipe == recipe_for(("sentiment", "ner"))


def test_seeds_follow_one_another_and_nothing_else_changes() -> None:
    recipes = Plan(recipe=Recipe(seed=5), seeds=3).recipes()
    assert [one.seed for one in recipes] == [5, 6, 7]
    assert {one.epochs for one in recipes} == {Recipe().epochs}


def test_a_small_set_is_read_more_often_unless_epochs_are_asked_for() -> None:
    plan = Plan(recipe=Recipe(epochs=5, batch_size=32), min_steps=400)
    assert plan.over(640).recipe.epochs == 20
    assert plan.over(641).recipe.epochs == 20
    assert plan.over(10).recipe.epochs == 40
    assert plan.over(7000).recipe.epochs == 5
    assert (plan.over(640).recipe.patience, plan.over(7000).recipe.patience) == (8, 2)
    assert plan.over(640).over(640) == plan.over(640)
    assert plan_for(("entity_sentiment",), "best", epochs=2).over(10).recipe.epochs == 2
    with pytest.raises(RecipeRefused, match="no less than 0 steps"):
        Plan(recipe=Recipe(), min_steps=-1)


@pytest.mark.parametrize(
    ("tasks", "name", "said"),
    [(("ner",), "worst", "allowed are default, best"), (("ner", "sentiment"), "best", "allowed is one task")],
)
def test_an_unknown_plan_and_best_for_several_tasks_are_refused(tasks: tuple[str, ...], name: str, said: str) -> None:
    with pytest.raises(RecipeRefused, match=said):
        plan_for(tasks, name)
