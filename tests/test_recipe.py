import pytest

from depthmask.errors import UserError
from pipeline.recipes import Recipe, builtin_recipes, load_recipe


def test_the_builtin_recipes_load():
    assert "default" in builtin_recipes()
    assert all(load_recipe(name).name == name for name in builtin_recipes())


def test_settings_reach_nested_keys():
    recipe = load_recipe("default", ["canvas.width=160", "splits.fractions={all: 1.0}", "seed=7"])
    assert (recipe.canvas.width, recipe.seed, recipe.splits.fractions) == (160, 7, {"all": 1.0})


def test_a_resolved_recipe_is_whole_and_reads_back(tmp_path):
    recipe = load_recipe("default", ["foregrounds.size={mode: height, height: 60}"])
    path = tmp_path / "stored.yaml"
    path.write_text(recipe.to_yaml())
    assert load_recipe(str(path)) == recipe
    assert set(Recipe.model_fields) == {line.split(":")[0] for line in _top_level(path)}


def _top_level(path):
    return [line for line in path.read_text().splitlines() if not line.startswith(" ")]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("canvas.widht=5", r"canvas.widht: no such key. There are: width, height, fit, .*colour"),
        ("placement.per_pair=5", r"placement: no such key. There are: name, seed, canvas"),
        ("canvas.width=wide", r"canvas.width: .*integer.*'wide'"),
        ("canvas.width=1.5", r"canvas.width: .*1.5"),
        ("masks.soft=1", r"masks.soft: .*boolean.*1"),
        ("placements.per_pair=0", r"placements.per_pair: .*greater than or equal to 1.*0"),
        ("canvas.fit=squash", r"canvas.fit: .*'crop', 'stretch' or 'pad'.*'squash'"),
        ("splits.fractions={a: 0.5, b: 0.4}", r"fractions must add up to 1, not 0.9"),
        ("splits.fractions={a: 1.5, b: -0.5}", r"fractions lie above 0 and up to 1; a is 1.5"),
        ("splits.between=rest", r"between \(rest\) names a further split, where splits.by is both"),
        ("splits={by: both, between: test}", r"between \(test\) names a further split"),
        ("splits.fractions={a/b: 1.0}", r"split names are .* not 'a/b'"),
        ("foregrounds.scale=[2.0, 1.0]", r"scale is \[from, to\] .* not \[2.0, 1.0\]"),
        (
            "foregrounds.size={mode: fixed, width: 300, height: 50}",
            r"foregrounds 300 pixels wide cannot lie inside a canvas 224 pixels wide",
        ),
        (
            "foregrounds={size: {mode: height, height: 150}, scale: [1.0, 2.0]}",
            r"foregrounds 300 pixels high cannot lie inside",
        ),
        (
            "placements={region: anywhere, distinct: true, per_pair: 225}",
            r"225 distinct places need as many rows and columns; there are 224×224",
        ),
        ("placements.region=range", r"placements: region range needs x: such as"),
        (
            "placements.x=[0, 5]",
            r"placements: x goes with region range alone, not inside: .* set placements.x to null",
        ),
        (
            "placements={region: range, x: [5, 4], y: [0, 9]}",
            r"x is \[from, to\] with 0 <= from <= to, not \[5, 4\]",
        ),
        (
            "placements={region: range, x: [0, 9], y: [0, 224]}",
            r"placements.y goes to 224, beyond a canvas 224×224",
        ),
        (
            "placements={region: range, x: [0, 9], y: [0, 99], distinct: true, per_pair: 11}",
            r"11 distinct places need as many rows and columns; there are 10×100",
        ),
        (
            "canvas={fit: crop, pad_colour: [255, 255, 255]}",
            r"canvas: pad_colour goes with fit pad alone, not crop",
        ),
        ("canvas={fit: pad, pad_colour: [256, 0, 0]}", r"canvas.pad_colour.0: .*255.*256"),
        ("canvas.filter=linear", r"canvas.filter: .*'nearest', 'bilinear', .*'linear'"),
        (
            "placements={region: anywhere, half_open: true}",
            r"half_open goes with region inside alone, not anywhere",
        ),
        (
            "placements.transforms=[mirror]",
            r"placements.transforms.0: .*'left_right', 'top_bottom'.*'mirror'",
        ),
        ("placements.transforms=[]", r"placements.transforms: .*at least 1"),
        (
            "placements={flip: none, transforms: [transpose]}",
            r"transforms are of flipped foregrounds, and flip is none",
        ),
        (
            "placements={flip: shared, transforms: [left_right, rotate_90]}",
            r"rotate_90 makes width height.* does not go with flip: shared but in region range",
        ),
        (
            "placements={distinct: true, transforms: [transpose]}",
            r"transpose makes width height.* does not go with distinct: true",
        ),
        ("masks.squared=true", r"masks: squared is of soft masks: set soft to true too"),
        ("masks={soft: true, dither: true}", r"dither makes masks of 0 and 255, and soft keeps"),
        (
            "masks={source: file, without_black: true}",
            r"without_black goes with source alpha alone, not file",
        ),
        ("masks.range=[9, 256]", r"range is \[from, to\], 0 <= from <= to <= 255, not \[9, 256\]"),
        ("foregrounds.size.mode=native", r"fraction: does not go with mode native"),
        ("foregrounds.size={mode: fixed, width: 5}", r"size.height: is needed by mode fixed"),
        ("canvas", r"give KEY.PATH=VALUE"),
        ("seed.x=1", r"seed is a value, not a section"),
        ("seed=[", r"not YAML"),
    ],
)
def test_what_cannot_be_is_refused_by_name(setting: str, message: str):
    with pytest.raises(UserError, match=message):
        load_recipe("default", [setting])


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(UserError) as caught:
        load_recipe("default", ["canvas.width=0", "image.quality=101", "colour=red"])
    assert all(key in str(caught.value) for key in ("canvas.width", "image.quality", "colour"))


def test_a_recipe_that_is_not_there_names_those_that_are():
    with pytest.raises(UserError, match=r"'offce' cannot be read \(No such file.*one of: default"):
        load_recipe("offce")


def test_a_recipe_says_what_differs_from_its_base(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(
        "base: default\nimage: {quality: 50}\nsplits: {fractions: {all: 1.0}}\n"
        "foregrounds: {size: {mode: native}}\nplacements: {region: anywhere}\n"
    )
    recipe = load_recipe(str(path), ["seed=3"])
    assert (recipe.image.format, recipe.image.quality) == ("jpeg", 50)
    assert recipe.splits.by == "example" and recipe.splits.fractions == {"all": 1.0}
    assert (recipe.foregrounds.size.mode, recipe.seed) == ("native", 3)
    assert recipe.name == "custom"  # a base's name is not another recipe's


def test_a_base_that_is_not_there_names_those_that_are(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("base: offce\n")
    with pytest.raises(UserError, match=r"base is 'offce': give one of: .*default"):
        load_recipe(str(path))


def test_a_recipe_is_a_mapping(tmp_path):
    path = tmp_path / "list.yaml"
    path.write_text("- canvas\n- seed\n")
    with pytest.raises(UserError, match="a recipe is a mapping"):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("{mode: fixed, width: 80, height: 70}", (80, 70)),
        ("{mode: height, height: 100}", (50, 100)),
        ("{mode: height, height: 100, max_width: 40}", (40, 80)),
        ("{mode: max_side, max_side: 150}", (75, 150)),
        ("{mode: canvas_fraction, fraction: 0.5}", (40, 80)),
        ("{mode: native}", (60, 120)),
        ("{mode: height, height: 99}", (49, 99)),  # 49.5
    ],
)
def test_sizes_of_a_foreground_of_60_by_120_on_200_by_160(size: str, expected: tuple[int, int]):
    recipe = load_recipe(
        "default", ["canvas={width: 200, height: 160}", f"foregrounds.size={size}"]
    )
    assert recipe.foregrounds.drawn_size(60, 120, recipe.canvas) == expected


def test_chunks_are_multiples_of_16_and_bounded():
    sizes = [
        load_recipe("default", [f"canvas={{width: {side}, height: {side}}}"]).chunk_examples
        for side in (8, 160, 224, 1024, 8192)
    ]
    assert sizes == [512, 80, 32, 2, 1]


# What the five teams' code does.
@pytest.mark.parametrize(
    ("name", "facts"),
    [
        (
            "monodepthmask",
            {
                "canvas": (250, 250, "stretch", "rgb"),
                "size": (100, 125),
                "placements": ("inside", None, False, "shared"),
                "image": (80, False),
                "masks": ("colour", (80, False), 3),
                "depth": ((640, 480), "plasma8", 100, (320, 240), 2),
                "splits": {"train": 0.7, "test": 0.3},
            },
        ),
        (
            "living-room",
            {
                "canvas": (224, 224, "crop", "rgb"),
                "size": (80, 100),
                "placements": ("range", (1, 120), False, "shared"),
                "image": (30, True),
                "masks": ("file", (30, True), 1),
                "depth": ((448, 448), "norm8", 75, (224, 224), 2),
                "splits": {"train": 1.0},
            },
        ),
        (
            "grey-gallery",
            {
                "canvas": (160, 160, "pad", "grey"),
                "size": (80, 80),
                "placements": ("range", (0, 79), True, "own"),
                "image": (75, False),
                "masks": ("file", (75, False), 1),
                "depth": ((160, 160), "norm8", 75, (80, 80), 128),
                "splits": {"train": 1.0},
            },
        ),
        (
            "office",
            {
                "canvas": (160, 160, "crop", "rgb"),
                "size": (120, 150),
                "placements": ("range", (0, 159), False, "own"),
                "image": (50, True),
                "masks": ("file", (50, True), 1),
                "depth": ((160, 160), "metric16", None, None, 32),
                "splits": {"train": 1.0},
            },
        ),
        (
            "restaurant-mall",
            {
                "canvas": (224, 224, "crop", "rgb"),
                "size": (112, 140),
                "placements": ("inside", None, False, "own"),
                "image": (65, True),
                "masks": ("alpha", (65, True), 1),
                "depth": ((640, 480), "norm8", 75, (224, 224), 1),
                "splits": {"train": 1.0},
            },
        ),
    ],
)
def test_the_published_recipes_say_what_their_teams_did(name: str, facts: dict):
    recipe = load_recipe(name)
    canvas, rules, depth, masks = recipe.canvas, recipe.placements, recipe.depth, recipe.masks
    pair = {None: None}
    for size in (depth.input, depth.size):
        pair[size] = size and (size.width, size.height)
    assert rules.x == rules.y
    found = {
        "canvas": (canvas.width, canvas.height, canvas.fit, canvas.colour),
        "size": recipe.foregrounds.drawn_size(120, 150, canvas),
        "placements": (rules.region, rules.x, rules.distinct, rules.flip),
        "image": (recipe.image.quality, recipe.image.optimize),
        "masks": (masks.source, (masks.quality, masks.optimize), masks.channels),
        "depth": (
            pair[depth.input],
            depth.storage,
            depth.codec.quality if depth.codec.format == "jpeg" else None,
            pair[depth.size],
            depth.batch_size,
        ),
        "splits": recipe.splits.fractions,
    }
    assert found == facts
    assert (rules.per_pair, depth.of) == (20, "stored")
    assert recipe.image.format == masks.format == "jpeg"
