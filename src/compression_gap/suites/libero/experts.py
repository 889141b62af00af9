"""Scripted experts: a task's script reads like its instruction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from compression_gap.suites.base import Expert, Simulators
from compression_gap.suites.libero.primitives import Arm, Grasp, Moves, Style

NOISE_MEMORY, NOISE = 0.8, 0.12  # Ornstein-Uhlenbeck noise on executed translations: decay a step, standard deviation
NOISE_TURNING = 0.03

CAN = Grasp(point=(0.0, 0.0, 0.0))
MOKA_POT = Grasp(point=(0.0, -0.001, 0.078))  # by the knob on its lid: its body is as wide as the open fingers
BOX = Grasp(point=(0.0, 0.0, 0.0), along=(0.0, 1.0, 0.0))  # across its narrow side
CREAM_CHEESE = Grasp(point=(-0.025, 0.0, 0.0), along=(0.0, 1.0, 0.0))  # by one end: the hand must clear the milk
WHITE_MUG = Grasp(point=(0.057, 0.0, 0.085), along=(1.0, 0.0, 0.0))  # by the rim, opposite to the handle
YELLOW_MUG = Grasp(point=(-0.060, 0.0, 0.085), along=(1.0, 0.0, 0.0))
BOOK = Grasp(point=(0.0, -0.012, 0.115), along=(1.0, 0.0, 0.0), middle=(0.0, -0.012, 0.0))  # by its upper edge
STOVE_KNOB = Grasp(point=(0.0, 0.0, 0.035), along=(1.0, 0.0, 0.0))
FIRST_CORNER, SECOND_CORNER = (-0.024, -0.03), (0.024, 0.03)  # of the basket: two cans are as wide as it is

Script = Callable[[Arm], Moves]


def turn_on_the_stove_and_put_the_moka_pot_on_it(arm: Arm) -> Moves:
    yield from arm.turn("flat_stove_1_button", STOVE_KNOB, joint="flat_stove_1_button.joint", to=0.6)
    yield from arm.pick("moka_pot_1", MOKA_POT)
    yield from arm.place(on="flat_stove_1_cook_region", height=0.092)


def put_both_into_the_basket(first: str, first_grasp: Grasp, second: str, second_grasp: Grasp) -> Script:
    """A script for two things that nothing stands close to."""

    def script(arm: Arm) -> Moves:
        yield from arm.pick(first, first_grasp)
        yield from place_in_the_basket(arm, FIRST_CORNER)
        yield from arm.pick(second, second_grasp)
        yield from place_in_the_basket(arm, SECOND_CORNER)

    return script


def put_both_the_cream_cheese_box_and_the_butter_into_the_basket(arm: Arm) -> Moves:
    yield from arm.pick("cream_cheese_1", CREAM_CHEESE)
    yield from place_in_the_basket(arm, (0.0, 0.02))
    # The hand is 20 cm wide and the butter stands between milk and basket: keep to the middle of the gap.
    milk, butter, basket = (arm.see[f"{thing}.position"][1] for thing in ("milk_1", "butter_1", "basket_1"))
    middle = (milk + 0.035 + basket - 0.085) / 2
    aside = float(np.clip(middle - butter, -0.018, 0.018))
    yield from arm.pick("butter_1", replace(BOX, point=(0.0, -aside, 0.0)))
    yield from place_in_the_basket(arm, (0.0, 0.0))  # flat boxes lie on one another


def place_in_the_basket(arm: Arm, corner: tuple[float, float]) -> Moves:
    yield from arm.place(on="basket_1_contain_region", height=0.03, over=0.16, aside=corner, along=(0, 1))


def put_the_white_mug_on_the_left_and_the_yellow_and_white_mug_on_the_right_plate(arm: Arm) -> Moves:
    yield from arm.pick("porcelain_mug_1", WHITE_MUG)
    yield from arm.place(on="plate_1", height=0.02)
    yield from arm.pick("white_yellow_mug_1", YELLOW_MUG)
    yield from arm.place(on="plate_2", height=0.02)


def put_the_book_into_the_back_compartment_of_the_caddy(arm: Arm) -> Moves:
    yield from arm.pick("black_book_1", BOOK)
    yield from arm.place(on="desk_caddy_1_back_contain_region", height=-0.05, over=0.2, along=(1, 0))


def put_the_white_mug_on_the_plate_and_the_chocolate_pudding_to_the_right_of_it(arm: Arm) -> Moves:
    # The pudding first: beside a standing mug there is no room for the hand.
    yield from arm.pick("chocolate_pudding_1", BOX)
    yield from arm.place(on="living_room_table_plate_right_region", height=0.05)
    yield from arm.pick("porcelain_mug_1", WHITE_MUG)
    yield from arm.place(on="plate_1", height=0.02)


def put_both_moka_pots_on_the_stove(arm: Arm) -> Moves:
    for pot, aside in (("moka_pot_1", -0.045), ("moka_pot_2", 0.045)):
        yield from arm.pick(pot, MOKA_POT)
        yield from arm.place(on="flat_stove_1_cook_region", height=0.092, aside=(aside, 0.0))


def pick_up_the_alphabet_soup_and_place_it_in_the_basket(arm: Arm) -> Moves:
    yield from arm.pick("alphabet_soup_1", CAN)
    yield from arm.place(on="basket_1_contain_region", height=0.02, over=0.16)


SCRIPTS: dict[tuple[str, int], Script] = {
    ("libero_10", 0): put_both_into_the_basket("alphabet_soup_1", CAN, "tomato_sauce_1", CAN),
    ("libero_10", 1): put_both_the_cream_cheese_box_and_the_butter_into_the_basket,
    ("libero_10", 2): turn_on_the_stove_and_put_the_moka_pot_on_it,
    ("libero_10", 4): put_the_white_mug_on_the_left_and_the_yellow_and_white_mug_on_the_right_plate,
    ("libero_10", 5): put_the_book_into_the_back_compartment_of_the_caddy,
    ("libero_10", 6): put_the_white_mug_on_the_plate_and_the_chocolate_pudding_to_the_right_of_it,
    ("libero_10", 7): put_both_into_the_basket("alphabet_soup_1", CAN, "cream_cheese_1", CREAM_CHEESE),
    ("libero_10", 8): put_both_moka_pots_on_the_stove,
    ("libero_object", 0): pick_up_the_alphabet_soup_and_place_it_in_the_basket,
}


def script_for(suite: str, task: int) -> Script:
    """The script of a task. Raises ValueError naming the tasks that have one."""
    if (suite, task) not in SCRIPTS:
        known = ", ".join(f"{name} {index}" for name, index in SCRIPTS)
        raise ValueError(f"there is no scripted expert for {suite} task {task} yet; there are scripts for {known}")
    return SCRIPTS[suite, task]


class ScriptedExpert(Expert):
    """One script in E environments, each in the style of its episode."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._runs: list[_Run] = []

    def begin(self, episodes: Sequence[int]) -> None:
        self._runs = [_Run(self._script, episode) for episode in episodes]

    def act(self, simulators: Simulators) -> tuple[Float[np.ndarray, "E 7"], Float[np.ndarray, "E 7"]]:
        seen = simulators.privileged()
        pairs = [run.act({name: rows[row] for name, rows in seen.items()}) for row, run in enumerate(self._runs)]
        labels, executed = zip(*pairs, strict=True)
        return np.stack(labels), np.stack(executed)

    def save(self) -> object:
        return [(run.episode, tuple(run.seen)) for run in self._runs]

    def restore(self, saved: object) -> None:
        self._runs = []
        for episode, seen in saved:  # type: ignore[attr-defined]
            run = _Run(self._script, episode)
            for sight in seen:
                run.act(sight)
            self._runs.append(run)


class _Run:
    """A script under way. It remembers what it has seen: shown the same again, a new run stands at the same place."""

    def __init__(self, script: Script, episode: int) -> None:
        self.episode = episode
        self.seen: list[Mapping[str, np.ndarray]] = []
        self._rng = np.random.default_rng(episode)
        self._arm = Arm(Style.draw(self._rng))
        self._moves = script(self._arm)
        self._noise = np.zeros(7)
        self._scale = np.array([NOISE] * 3 + [NOISE_TURNING] * 3 + [0.0])

    def act(self, sight: Mapping[str, np.ndarray]) -> tuple[Float[np.ndarray, " 7"], Float[np.ndarray, " 7"]]:
        """(label, executed) for what is seen now."""
        self.seen.append(sight)
        self._arm.see = sight
        label = next(self._moves, None)
        if label is None:  # the script is over: stay
            label = self._arm.toward(self._arm.position)
        fresh = self._rng.normal(size=7) * self._scale
        self._noise = NOISE_MEMORY * self._noise + np.sqrt(1.0 - NOISE_MEMORY**2) * fresh
        return label, np.clip(label + self._noise, -1.0, 1.0)
