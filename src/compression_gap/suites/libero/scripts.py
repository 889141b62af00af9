"""Scripts for LIBERO's tasks: each reads like its instruction, and which task has which stands at the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from compression_gap.suites.libero.primitives import CLOSED, OPEN, Arm, Grasp, Moves, Point, up

CAN = Grasp(point=(0.0, 0.0, 0.0))
MOKA_POT = Grasp(point=(0.0, -0.001, 0.078))  # by the knob on its lid: its body is as wide as the open fingers
BOX = Grasp(point=(0.0, 0.0, 0.0), along=(0.0, 1.0, 0.0))  # across its narrow side
CREAM_CHEESE = Grasp(point=(-0.025, 0.0, 0.0), along=(0.0, 1.0, 0.0))  # by one end: the hand must clear the milk
WHITE_MUG = Grasp(point=(0.057, 0.0, 0.085), along=(1.0, 0.0, 0.0))  # by the rim, opposite to the handle
YELLOW_MUG = Grasp(point=(-0.060, 0.0, 0.085), along=(1.0, 0.0, 0.0))
BOOK = Grasp(point=(0.0, -0.012, 0.115), along=(1.0, 0.0, 0.0), middle=(0.0, -0.012, 0.0))  # by its upper edge
BOTTLE = Grasp(point=(0.0, 0.052, 0.0), along=(0.0, 0.0, 1.0))  # high: the palm is 26 mm above the tips; y points up
CARTON = Grasp(point=(0.0, 0.040, 0.0), along=(0.0, 0.0, 1.0))
BBQ_SAUCE = Grasp(point=(0.0, 0.0, 0.030), along=(0.0, 1.0, 0.0))
BOWL = Grasp(point=(0.048, 0.0, 0.034), along=(1.0, 0.0, 0.0))  # by the rim
BOWL_NEAR_SIDE = Grasp(point=(-0.048, 0.0, 0.034), along=(1.0, 0.0, 0.0))
BOWL_ACROSS = Grasp(point=(0.0, 0.048, 0.040), along=(0.0, 1.0, 0.0))
YELLOW_MUG_HANDLE = Grasp(point=(0.060, 0.0, 0.055), along=(0.0, 1.0, 0.0))
DRAWER_HANDLE = np.array([-0.003, -0.101, 0.043])  # within the drawer's frame
STOVE_KNOB = Grasp(point=(0.0, 0.0, 0.035), along=(1.0, 0.0, 0.0))
LOW = 0.06  # metres
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
    # The milk may stand right beside the cheese: come from above it, and hold the end that is away from it.
    side = 1.0 if arm.see["cream_cheese_1.position"][0] > arm.see["milk_1.position"][0] else -1.0
    x, y, z = arm.see["cream_cheese_1.rotation"].T @ np.array([0.028 * side, 0.0, 0.0])
    arm.travel = 0.17
    yield from arm.pick("cream_cheese_1", replace(BOX, point=(x, y, z)))
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


def put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet_and_close_it(arm: Arm) -> Moves:
    # The hand's narrow side toward the cabinet, and the wrist away from it: the drawer opens under others' handles.
    arm.yaw, arm.tilt = np.pi / 2, 0.4
    yield from arm.pick("akita_black_bowl_1", BOWL_ACROSS)
    yield from arm.place(on="white_cabinet_1_bottom_region", height=-0.01, over=0.16, aside=(0.0, -0.029), along=(1, 0))
    handle = arm.see["white_cabinet_1_cabinet_bottom.position"] + DRAWER_HANDLE
    arm.yaw, arm.tilt, arm.fingers = (
        np.pi / 2,
        0.75,
        CLOSED,
    )  # fingers first, or the hand is stopped by the handle above
    yield from arm.go(lambda: handle + np.array([0.0, -0.09, 0.12]), near=0.03)
    yield from arm.go(lambda: handle + np.array([0.0, -0.06, 0.0]), near=0.015)
    here = arm.position
    yield from arm.push(
        lambda: np.array([here[0], arm.position[1] + 0.05, here[2]]),
        done=lambda: bool(arm.see["white_cabinet_1_bottom_level.joint"] > 0.002),
    )


def put_the_yellow_and_white_mug_in_the_microwave_and_close_it(arm: Arm) -> Moves:
    yield from swing_the_microwave_door(arm, shut=False)  # the hand is wide
    yield from arm.rise()
    # By the handle and leaning, so that the hand stays outside.
    arm.yaw, arm.tilt = np.pi / 2, 1.0
    while arm.held is None:
        yield from arm.pick("white_yellow_mug_1", YELLOW_MUG_HANDLE)
        cavity, height = "microwave_1_heating_region", -0.058
        yield from arm.go(arm.bringing(on=cavity, height=height + 0.02, aside=(-0.035, -0.18)), near=0.012)
        yield from arm.go(arm.bringing(on=cavity, height=height, aside=(-0.035, -0.02)), near=0.01)
        if arm.lost:
            arm.held = None
    arm.held = None
    yield from arm.grip(OPEN, 8)
    here = arm.position
    yield from arm.go(lambda: here + np.array([0.0, -0.14, 0.0]))
    yield from swing_the_microwave_door(arm, shut=True)


def swing_the_microwave_door(arm: Arm, shut: bool) -> Moves:
    """Pushes the door with the finger tips, from outside until it is shut or from inside until it is wide open."""
    hinge, door = arm.see["microwave_1_microdoorroot.position"] + up(0.06), "microwave_1_microjoint.joint"
    side = 1.0 if shut else -1.0
    arm.fingers, arm.tilt = CLOSED, 0.0

    def beside(ahead: float) -> Point:
        """A point on the face that is pushed, `ahead` (rad) of where the door stands."""
        angle = float(arm.see[door]) + side * ahead
        arm.yaw = angle + np.pi / 2
        along, out = np.array([np.cos(angle), np.sin(angle), 0.0]), np.array([np.sin(angle), -np.cos(angle), 0.0])
        return hinge + 0.18 * along + 0.03 * side * out

    def done() -> bool:
        return bool(arm.see[door] > -0.002 if shut else arm.see[door] < -1.75)

    yield from arm.rise(max(0.0, hinge[2] + 0.20 - arm.position[2]))  # over the door
    yield from arm.go(lambda: beside(-0.35) + up(0.20), near=0.04)
    yield from arm.go(lambda: beside(-0.35), near=0.03)
    yield from arm.push(lambda: beside(0.35), done)


def pick_up_and_place_in_the_basket(thing: str, grasp: Grasp, height: float) -> Script:
    """A script for one thing that stands `height` high above the middle of the basket's region."""

    def script(arm: Arm) -> Moves:
        yield from arm.pick(thing, grasp)
        yield from arm.place(on="basket_1_contain_region", height=height, over=0.16)

    return script


def pick_up_the_black_bowl_and_place_it_on_the_plate(arm: Arm) -> Moves:
    x, y, _ = arm.see["akita_black_bowl_1.position"]
    # Far out the arm is stretched before it is there, unless it stays low and leans; close to its base it cannot lean.
    arm.travel, arm.tilt = LOW, 0.3 if x > -0.15 else 0.0
    yield from arm.pick("akita_black_bowl_1", BOWL_NEAR_SIDE if y > 0.4 else BOWL)
    yield from arm.place(on="plate_1", height=0.02, over=LOW)


def pick_up_the_black_bowl_in_the_top_drawer_and_place_it_on_the_plate(arm: Arm) -> Moves:
    arm.travel = LOW
    # Along the drawer's front: between the bowl and the front there is no room for a finger.
    front = arm.see["wooden_cabinet_1.rotation"][:, 0]
    x, y, _ = arm.see["akita_black_bowl_1.rotation"].T @ front
    yield from arm.pick("akita_black_bowl_1", Grasp(point=(0.048 * x, 0.048 * y, 0.034), along=(x, y, 0.0)))
    yield from arm.rise()
    out = arm.position + np.array([0.0, 0.15, 0.0])
    yield from arm.go(lambda: out, near=0.03)  # over the front
    yield from arm.place(on="plate_1", height=0.02, over=LOW)


GROCERIES = (  # libero_object's tasks in their order: thing, grasp, height of its middle above that of the basket
    ("alphabet_soup_1", CAN, 0.02),
    ("cream_cheese_1", BOX, 0.0),
    ("salad_dressing_1", BOTTLE, 0.05),
    ("bbq_sauce_1", BBQ_SAUCE, 0.035),
    ("ketchup_1", BOTTLE, 0.05),
    ("tomato_sauce_1", CAN, 0.02),
    ("butter_1", BOX, 0.0),
    ("milk_1", CARTON, 0.05),
    ("chocolate_pudding_1", BOX, 0.0),
    ("orange_juice_1", CARTON, 0.05),
)

SCRIPTS: dict[tuple[str, int], Script] = {
    ("libero_10", 0): put_both_into_the_basket("alphabet_soup_1", CAN, "tomato_sauce_1", CAN),
    ("libero_10", 1): put_both_the_cream_cheese_box_and_the_butter_into_the_basket,
    ("libero_10", 2): turn_on_the_stove_and_put_the_moka_pot_on_it,
    ("libero_10", 3): put_the_black_bowl_in_the_bottom_drawer_of_the_cabinet_and_close_it,
    ("libero_10", 4): put_the_white_mug_on_the_left_and_the_yellow_and_white_mug_on_the_right_plate,
    ("libero_10", 5): put_the_book_into_the_back_compartment_of_the_caddy,
    ("libero_10", 6): put_the_white_mug_on_the_plate_and_the_chocolate_pudding_to_the_right_of_it,
    ("libero_10", 7): put_both_into_the_basket("alphabet_soup_1", CAN, "cream_cheese_1", CREAM_CHEESE),
    ("libero_10", 8): put_both_moka_pots_on_the_stove,
    ("libero_10", 9): put_the_yellow_and_white_mug_in_the_microwave_and_close_it,
    **{("libero_object", task): pick_up_and_place_in_the_basket(*how) for task, how in enumerate(GROCERIES)},
    **{("libero_spatial", task): pick_up_the_black_bowl_and_place_it_on_the_plate for task in range(10)},
    ("libero_spatial", 4): pick_up_the_black_bowl_in_the_top_drawer_and_place_it_on_the_plate,
}


def script_for(suite: str, task: int) -> Script:
    """The script of a task. Raises ValueError naming the suites whose tasks have one."""
    if (suite, task) not in SCRIPTS:
        known = ", ".join(dict.fromkeys(name for name, _ in SCRIPTS))
        raise ValueError(f"there is no scripted expert for {suite} task {task}; there are scripts for {known}")
    return SCRIPTS[suite, task]
