"""The documents say what the code does: settings, recipes, commands, links."""

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

import trimformer
from trimformer.encoder.checkpoints.families import FAMILIES
from trimformer.methods import METHODS
from trimformer.recipe.reading import load_recipe
from trimformer.recipe.settings import AutopilotSettings, ExportSettings, MeasureSettings, Recipe, StageSettings
from trimformer.starts import STARTS
from trimformer.tasks.augmentation import AUGMENTATIONS
from trimformer.tasks.settings import TaskSettings
from trimformer.training.settings import ObjectiveSettings, TrainingSettings
from trimformer.training.terms.base import in_order
from trimformer_cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
METHOD_PAGES = (
    {name: f"methods/{name}.md" for name in METHODS}
    | dict.fromkeys(["last-k", "random-k", "random-dimensions", "finetune"], "methods/controls.md")
    | dict.fromkeys(["uniform", "random", "tpe"], "methods/baselines.md")
    | {"attendout-faithful": "methods/attendout.md"}
)
TABLES: list[tuple[str, str, type[BaseModel]]] = [
    ("recipes.md", "Recipe", Recipe),
    ("recipes.md", "Task", TaskSettings),
    ("recipes.md", "Stage", StageSettings),
    ("recipes.md", "Autopilot", AutopilotSettings),
    ("recipes.md", "Objective", ObjectiveSettings),
    ("recipes.md", "Training", TrainingSettings),
    ("recipes.md", "Measure", MeasureSettings),
    ("recipes.md", "Export", ExportSettings),
    *((METHOD_PAGES[name], f"Settings of {name}", method.Settings) for name, method in METHODS.items()),
    *(("starts.md", f"Settings of {name}", start.Settings) for name, start in STARTS.items()),
    *(("augmentation.md", f"Settings of {name}", one.Settings) for name, one in AUGMENTATIONS.items()),
]


def rows(page: str, heading: str) -> dict[str, str]:
    """Setting -> default, from the table under a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", section, flags=re.MULTILINE))


def written(value: Any) -> str:
    """A default as the tables write it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(str, value))}]"
    return f"`{value}`" if isinstance(value, str) else str(value)


@pytest.mark.parametrize(("page", "heading", "settings"), TABLES, ids=[table[1] for table in TABLES])
def test_every_setting_is_documented_with_its_default(page, heading, settings):
    documented = rows(page, heading)
    assert list(documented) == list(settings.model_fields)
    for name, field in settings.model_fields.items():
        if field.default_factory is not None:
            assert documented[name].startswith("see ")
        elif field.default is PydanticUndefined:
            assert documented[name] == "required"
        else:
            assert documented[name] == written(field.default), name


def test_every_term_of_the_objective_has_a_section():
    page = (ROOT / "docs/terms.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == [term.name for term in in_order()]
    assert re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE) == [term.name for term in in_order()]


def test_the_table_of_families_is_whole():
    section = (ROOT / "docs/tasks.md").read_text(encoding="utf-8").split("## Families and tasks")[1]
    listed = re.findall(r"^\| [^|]+ \| `([\w-]+)` \| ✓ \| ✓ \| ✓ \|", section, flags=re.MULTILINE)
    assert sorted(listed) == sorted(FAMILIES)


def test_every_ambiguity_of_the_paper_has_a_row():
    page = (ROOT / "docs/methods/attendout.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| ([a-z]) \|", page, flags=re.MULTILINE) == list("abcdefghijklmnopq")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda path: path.stem)
def test_ready_recipes_are_valid(path):
    recipe = load_recipe(path)
    assert recipe.out.startswith("runs/")
    assert len({stage.name for stage in recipe.stages}) == len(recipe.stages)


def test_the_faithful_recipe_has_the_published_settings():
    recipe = load_recipe(ROOT / "recipes/attendout-faithful.yaml")
    search = recipe.stages[0]
    assert (search.method.name, search.start.name) == ("attendout-faithful", "pretrained")
    assert (recipe.task.max_length, search.method.pruning_step) == (256, 10)
    assert search.method.generator_learning_rate == 5e-5


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([\w-]*))?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            linked = page.parent / target if target else page
            assert linked.exists(), target
            assert not anchor or anchor in anchors(linked), f"{target}#{anchor}"


def anchors(page: Path) -> set[str]:
    """The names under which a page's headings can be linked to."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_names_every_page_and_every_method():
    index = ROOT / "docs/index.md"
    text = index.read_text(encoding="utf-8")
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", text)}
    assert {page for page in PAGES if page.is_relative_to(index.parent)} - {index} <= linked
    assert re.findall(r"^## (\w[\w-]*)$", text, flags=re.MULTILINE) == ["Tutorial", "How-to", "Concept", "Reference"]
    assert set(METHODS) <= set(re.findall(r"`([\w-]+)`", text))


def test_what_the_docs_take_from_the_code_is_up_to_date():
    spec: Any = importlib.util.spec_from_file_location("generate", ROOT / "docs/generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for page, content in generate.pages().items():
        assert page.read_text(encoding="utf-8") == content, f"{page.name} is out of date: run `make docs`"


def test_measured_tables_and_figures_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import tables

    for page, names in tables.PAGES.items():
        text = (ROOT / page).read_text(encoding="utf-8")
        assert tables.filled(text, names) == text, f"run python benchmarks/tables.py: {page}"
    drawn = tables.PICTURE.read_text(encoding="utf-8") if tables.PICTURE.exists() else ""
    assert tables.picture() == drawn, "run python benchmarks/tables.py: the picture"


def test_a_speed_is_the_same_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import tables

    (line,) = (line for line in tables.methods_speed().splitlines() if line.startswith("| autopilot "))
    over_eager = float(line.split(" | ")[4].removesuffix("x"))
    assert f"{over_eager:.1f}" == tables.figures()["autopilot-over-eager"]
    assert f"| {over_eager:.1f}x |" in tables.autopilot_short().splitlines()[-1]
    header = tables.glue().splitlines()[0]
    assert "validation score, fp32" in header
    assert "speed, int8" in header


def test_searches_that_are_sure_stand_beside_those_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import autopilot_tables
    import tables

    before = tables.read("autopilot")
    assert autopilot_tables.sure(before, {})[1] == []
    cola = {key: found for key, found in before.items() if key.startswith("search cola")}
    _, rows = autopilot_tables.sure(before, cola)
    assert [row[0] for row in rows] == ["cola", "all"]
    assert rows[0][1] == rows[0][3] == rows[1][1] == "2 of 3"


def test_a_sentence_on_the_longer_control_says_on_how_many_pairs_it_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import figures
    import tables

    files = tables.glue_files()
    kept = {(task, f"trained-on seed {seed}") for task in ("mrpc", "rte") for seed in (1, 2)}
    files = {
        task: {name: run for name, run in runs.items() if "trained-on" not in name or (task, name) in kept}
        for task, runs in files.items()
    }
    found = figures.choices(files)
    assert found["choices-control-pairs"].startswith("4 of the ")

    def change(run: str) -> float:
        own = [files[task][name.replace("trained-on", run)]["comparison"]["difference"] for task, name in kept]
        return 100 * sum(own) / len(own)

    for name, run in (("change", "trained-on"), ("layerwise", "layerwise-3")):
        assert float(found[f"choices-control-{name}"].replace("−", "-")) == pytest.approx(change(run), abs=0.051)
    lost = change("layerwise-3") - change("trained-on")
    assert float(found["choices-control"]) == pytest.approx(abs(lost), abs=0.051)


def test_every_public_name_is_in_the_api_page():
    page = (ROOT / "docs/api.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+)$", page, flags=re.MULTILINE) == trimformer.__all__


def test_the_commands_of_make_are_those_of_the_makefile():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for page in PAGES:
        named = re.findall(r"^make ([\w-]+)", "\n".join(blocks(page, "bash")), flags=re.MULTILINE)
        assert set(named) <= targets, page
    readme = "\n".join(blocks(ROOT / "README.md", "bash"))
    assert re.findall(r"^make ([\w-]+)", readme, flags=re.MULTILINE) == ["demo", "test"]


def test_the_readme_is_short_and_has_one_table_of_results():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 180
    assert re.findall(r"<!-- results:([\w-]+) -->", text) == ["autopilot-short"]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist_with_their_options(page):
    known: Any = typer.main.get_command(app)
    for block in blocks(page, "bash"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "trimformer" not in words or words[0] == "podman":
                continue
            verb, *rest = words[words.index("trimformer") + 1 :]
            options = {name for parameter in known.commands[verb].params for name in parameter.opts}
            assert {word for word in rest if word.startswith("--")} <= options, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_parse_and_use_public_names(page):
    for block in blocks(page, "python"):
        compile(block, str(page), "exec")
        assert set(re.findall(r"\btrimformer\.([A-Za-z]\w+)\(", block)) <= set(trimformer.__all__)


@pytest.mark.parametrize(
    ("verb", "page"),
    [("predict", "predict"), ("serve", "serve"), ("export", "deploy"), ("explain", "explain"), ("profile", "profile")],
)
def test_every_option_is_documented(verb, page):
    command: Any = typer.main.get_command(app)
    options = {name for parameter in command.commands[verb].params for name in parameter.opts if "--" in name}
    text = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    table = "".join(re.findall(r"^\| (`--.+?) \|", text, flags=re.MULTILINE))
    assert set(re.findall(r"`(--[\w-]+)`", table)) == options


def test_the_options_of_the_autopilot_are_documented():
    command: Any = typer.main.get_command(app)
    options = {name for parameter in command.commands["compress"].params for name in parameter.opts if "--" in name}
    page = (ROOT / "docs/autopilot.md").read_text(encoding="utf-8")
    own = re.findall(r"^\| `(--[\w-]+)` \|", page, flags=re.MULTILINE)
    assert set(own) <= options
    budget = {f"--{name.replace('_', '-')}" for name in AutopilotSettings.model_fields} - {"--training"}
    assert set(own) == budget | {"--batch", "--length"}
