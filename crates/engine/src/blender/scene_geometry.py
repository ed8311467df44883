"""Keeps geometry from being evaluated where nobody looks at it: for a frame that was rendered elsewhere, and for the
viewport, which Blender brings up to date at every change of frame beside what it renders."""

import bpy

# Types of objects whose evaluation takes long: their modifiers run.
TYPES = {"MESH", "CURVE", "CURVES", "SURFACE", "FONT", "META", "POINTCLOUD", "GPENCIL", "GREASEPENCIL", "VOLUME"}


class Hidden:
    """Hides the geometry of the open file in one way, and shows it again. What else is evaluated depends on it is evaluated
    all the same, and so is geometry whose being hidden is animated."""

    def __init__(self, flag, types=frozenset(TYPES)):
        self.flag = flag
        self.types = types
        # The flags of all objects as they were, while it is hidden.
        self.before = None

    def hide(self):
        if self.before is not None:
            return
        objects = bpy.data.objects
        self.before = [False] * len(objects)
        objects.foreach_get(self.flag, self.before)
        self.set([was or self.hides(item) for was, item in zip(self.before, objects)])

    def show(self):
        if self.before is not None and len(self.before) == len(bpy.data.objects):
            self.set(self.before)
        self.before = None

    def hides(self, item):
        return item.type in self.types or item.instance_type != "NONE"

    def set(self, values):
        objects = bpy.data.objects
        if not values:
            return
        # One by one each would have Blender look at all objects again.
        objects.foreach_set(self.flag, values)
        for value in (not values[0], values[0]):
            setattr(objects[0], self.flag, value)


def animates(item, properties):
    """Is one of these properties of an object animated or driven?"""
    data = item.animation_data
    if data is None:
        return False
    curves = [*data.drivers]
    actions = [data.action, *(strip.action for track in data.nla_tracks for strip in track.strips)]
    for action in filter(None, actions):
        curves += action_curves(action)
    return any(curve.data_path in properties for curve in curves)


def action_curves(action):
    """The curves of an action, of all its slots; before Blender 4.4 there were no slots."""
    layers = getattr(action, "layers", [])
    if not layers:
        return [*getattr(action, "fcurves", [])]
    bags = [bag for layer in layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]
