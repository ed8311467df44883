"""What Blender evaluates, and for how long it is good. Geometry is kept from being evaluated where nobody looks at it: for a
frame that was rendered elsewhere, and for the viewport, which Blender brings up to date at every change of frame beside what
it renders."""

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


def frames_leave_traces(scene):
    """Does Cycles render a frame otherwise when it keeps its data from another one? It does not see that hair of particles
    has changed, displaces what moves from where it was first, and subdivides as when it was first told to."""
    if any(system.settings.type == "HAIR" for item in bpy.data.objects for system in item.particle_systems):
        return True
    if any(is_displaced(material) for material in bpy.data.materials):
        return True
    # Clouds of points that nodes make: seen with 3.4, not with 4.5.
    if bpy.app.version < (4, 5, 0) and any(m.type == "NODES" for item in bpy.data.objects for m in item.modifiers):
        return True
    return scene.render.use_simplify and animates(scene, ("render.simplify",))


def is_displaced(material):
    """Does a material move the points of its mesh?"""
    # A property of Cycles' until 4.1.
    owner = material if hasattr(material, "displacement_method") else material.cycles
    if owner.displacement_method == "BUMP" or material.node_tree is None:
        return False
    outputs = [node for node in material.node_tree.nodes if node.bl_idname == "ShaderNodeOutputMaterial"]
    return any(node.inputs["Displacement"].is_linked for node in outputs)


def animates(item, properties):
    """Is a property of an object or scene animated or driven whose path begins with one of these?"""
    data = item.animation_data
    if data is None:
        return False
    curves = [*data.drivers]
    actions = [data.action, *(strip.action for track in data.nla_tracks for strip in track.strips)]
    for action in filter(None, actions):
        curves += action_curves(action)
    return any(curve.data_path.startswith(properties) for curve in curves)


def action_curves(action):
    """The curves of an action, of all its slots; before Blender 4.4 there were no slots."""
    layers = getattr(action, "layers", [])
    if not layers:
        return [*getattr(action, "fcurves", [])]
    bags = [bag for layer in layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]
