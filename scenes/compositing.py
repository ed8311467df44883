"""Compositor node trees of our scenes for Blender, in the words of Blender 3.4 to 5.0.

Blender 5.0 keeps the tree in a node group of the scene, makes choices and sizes of nodes into sockets, and takes the nodes
Math and Mix from shaders; 4.4 and 4.5 stand in between.
"""

import bpy

from blender_scenes import set_format

IN_GROUP = bpy.app.version >= (5, 0, 0)


def set_choice(node, old, socket, value):
    """A choice from a list: a property in capitals, a socket in words from 5.0 on."""
    if socket in node.inputs:
        node.inputs[socket].default_value = value.replace("_", " ").title()
    else:
        setattr(node, old, value)


class Compositor:
    """The scene's compositor tree, made empty. Methods take sockets and return sockets."""

    def __init__(self, scene):
        self.scene = scene
        if IN_GROUP:
            self.tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
            self.tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
            scene.compositing_node_group = self.tree
        else:
            scene.use_nodes = True
            self.tree = scene.node_tree
            self.tree.nodes.clear()

    def node(self, kind, inputs=()):
        node = self.tree.nodes.new(kind)
        for at, value in dict(inputs).items():
            self.feed(node.inputs[at], value)
        return node

    def feed(self, socket, value):
        if isinstance(value, bpy.types.NodeSocket):
            self.tree.links.new(value, socket)
        else:
            socket.default_value = value

    def layer(self, name):
        """The passes of a view layer."""
        node = self.node("CompositorNodeRLayers")
        node.scene, node.layer = self.scene, name
        return node.outputs

    def output(self, image):
        """What the frame shall be."""
        self.node("NodeGroupOutput" if IN_GROUP else "CompositorNodeComposite", {0: image})

    def glow(self, image, threshold=1.0, size=7):
        """Fog glow; sizes are powers of two of pixels before 4.4, then parts of the picture."""
        node = self.node("CompositorNodeGlare", {"Image": image})
        set_choice(node, "glare_type", "Type", "FOG_GLOW")
        set_choice(node, "quality", "Quality", "HIGH")
        if "Threshold" in node.inputs:
            node.inputs["Threshold"].default_value, node.inputs["Size"].default_value = threshold, 2.0 ** (size - 9)
        else:
            node.threshold, node.size = threshold, size
        return node.outputs["Image"]

    def blur(self, image, pixels):
        node = self.node("CompositorNodeBlur", {"Image": image})
        if node.inputs["Size"].type == "VECTOR":
            node.inputs["Size"].default_value[0] = node.inputs["Size"].default_value[1] = pixels
        else:
            node.size_x = node.size_y = pixels
        return node.outputs["Image"]

    def ellipse(self, width, height):
        """A mask of one inside, sizes as parts of the picture's width."""
        node = self.node("CompositorNodeEllipseMask")
        if "Size" in node.inputs:
            node.inputs["Size"].default_value[0], node.inputs["Size"].default_value[1] = width, height
        elif hasattr(node, "mask_width"):
            node.mask_width, node.mask_height = width, height
        else:
            node.width, node.height = width, height
        return node.outputs["Mask"]

    def normalize(self, value):
        return self.node("CompositorNodeNormalize", {0: value}).outputs[0]

    def math(self, operation, one, other):
        node = self.node("ShaderNodeMath" if IN_GROUP else "CompositorNodeMath", {0: one, 1: other})
        node.operation = operation
        return node.outputs[0]

    def mix(self, mode, factor, one, other):
        """`other` over `one` by a factor and a mode of blending."""
        if not IN_GROUP:
            node = self.node("CompositorNodeMixRGB", {0: factor, 1: one, 2: other})
            node.blend_type = mode
            return node.outputs[0]
        node = self.node("ShaderNodeMix")
        node.data_type, node.blend_type = "RGBA", mode
        for socket, value in zip([s for s in node.inputs if s.enabled], (factor, one, other)):
            self.feed(socket, value)
        return next(socket for socket in node.outputs if socket.enabled)

    def over(self, back, front):
        """A picture with transparency over another."""
        first = 0 if IN_GROUP else 1
        return self.node("CompositorNodeAlphaOver", {first: back, first + 1: front}).outputs[0]

    def denoise(self, image, normal, albedo, prefilter="ACCURATE"):
        node = self.node("CompositorNodeDenoise", {"Image": image, "Normal": normal, "Albedo": albedo})
        set_choice(node, "prefilter", "Prefilter", prefilter)
        return node.outputs[0]

    def saturated(self, image, saturation):
        return self.node("CompositorNodeHueSat", {"Image": image, "Saturation": saturation}).outputs[0]

    def files(self, folder, name, pictures, kind, depth):
        """A File Output node: `name` begins the file of a multi-layer EXR; others have a file for each picture."""
        node = self.node("CompositorNodeOutputFile")
        set_format(node.format, kind, depth)
        layered = kind == "OPEN_EXR_MULTILAYER"
        if IN_GROUP:
            node.directory, node.file_name = folder, name
            for title, picture in pictures.items():
                node.file_output_items.new("RGBA" if picture.type == "RGBA" else "FLOAT", title)
        else:
            node.base_path = folder + name if layered else folder
            slots = node.layer_slots if layered else node.file_slots
            slots.clear()
            for title in pictures:
                slots.new(title)
        for at, picture in enumerate(pictures.values()):
            self.feed(node.inputs[at], picture)
        return node
