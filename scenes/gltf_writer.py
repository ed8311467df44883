"""Writes binary glTF 2.0 files: materials, shared meshes, nodes, lights, cameras, skins and animations.

Nothing here decides what a scene looks like. Numbers are rounded to a fixed grid before they are stored, so
that the last bit of a platform's mathematics library never changes a file.
"""

import json
import struct

FLOAT, UNSIGNED_BYTE, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5121, 5123, 5125
ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
COMPONENTS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
FORMATS = {FLOAT: "f", UNSIGNED_BYTE: "B", UNSIGNED_SHORT: "H", UNSIGNED_INT: "I"}
GRID = 1 << 18
REPEAT, CLAMP = 10497, 33071


def stored(value):
    """The number as it is stored: rounded to 1/262144, which 32-bit floats hold exactly up to 64."""
    return round(value * GRID) / GRID


def short(value):
    """The number as it is written in JSON: five decimals, without a trailing point or a negative zero."""
    rounded = round(value, 5)
    return int(rounded) if rounded == int(rounded) else rounded


def shorts(values):
    """A list of numbers for JSON."""
    return [short(value) for value in values]


def srgb(code):
    """Linear colour of an sRGB hexadecimal code such as "c8a060"."""
    channels = [int(code[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


class GltfWriter:
    """Collects one scene; `save` writes it as a .glb file. Methods return glTF indices."""

    def __init__(self, name, frame_rate, environment=None):
        self.binary = bytearray()
        self.extensions = set()
        self.shared_accessors = {}
        self.shared_geometry = {}
        self.channels, self.samplers = [], []
        self.document = {
            "asset": {"version": "2.0", "generator": f"{name}.py"},
            "scene": 0,
            "scenes": [{"name": name, "nodes": [], "extras": {"frame_rate": frame_rate}}],
        }
        if environment is not None:
            self.document["scenes"][0]["extras"]["environment"] = environment

    def _append(self, key, item):
        items = self.document.setdefault(key, [])
        items.append(item)
        return len(items) - 1

    def _view(self, data, target=None):
        self.binary.extend(b"\0" * (-len(self.binary) % 4))
        view = {"buffer": 0, "byteOffset": len(self.binary), "byteLength": len(data)}
        if target is not None:
            view["target"] = target
        self.binary.extend(data)
        return self._append("bufferViews", view)

    def accessor(self, rows, kind, component=FLOAT, target=None, normalized=False, bounds=False):
        """Store rows (tuples, or plain numbers for SCALAR); equal data is stored once."""
        width = COMPONENTS[kind]
        flat = list(rows) if kind == "SCALAR" else [value for row in rows for value in row]
        if component == FLOAT:
            flat = [stored(value) for value in flat]
        padding = -width * struct.calcsize(FORMATS[component]) % 4 if target == ARRAY_BUFFER else 0
        row_format = f"<{width}{FORMATS[component]}{padding}x"
        data = b"".join(
            struct.pack(row_format, *flat[i : i + width]) for i in range(0, len(flat), width)
        )
        key = (data, kind, component, target, normalized, bounds)
        if key in self.shared_accessors:
            return self.shared_accessors[key]
        view = self._view(data, target)
        if padding:
            self.document["bufferViews"][view]["byteStride"] = len(data) * width // len(flat)
        accessor = {
            "bufferView": view,
            "componentType": component,
            "count": len(flat) // width,
            "type": kind,
        }
        if normalized:
            accessor["normalized"] = True
        if bounds:
            accessor["min"] = [min(flat[i::width]) for i in range(width)]
            accessor["max"] = [max(flat[i::width]) for i in range(width)]
        self.shared_accessors[key] = self._append("accessors", accessor)
        return self.shared_accessors[key]

    def texture(self, name, png, wrap=REPEAT):
        """Embed a PNG image with bilinear filtering."""
        image = self._append(
            "images", {"name": name, "mimeType": "image/png", "bufferView": self._view(png)}
        )
        sampler = {"magFilter": 9729, "minFilter": 9987, "wrapS": wrap, "wrapT": wrap}
        samplers = self.document.setdefault("samplers", [])
        if sampler not in samplers:
            samplers.append(sampler)
        return self._append("textures", {"source": image, "sampler": samplers.index(sampler)})

    def texture_use(self, texture, scale=None, rotation=0.0, strength=None):
        """A reference to a texture; `scale` repeats it, `strength` is the scale of a normal map."""
        use = {"index": texture}
        if scale is not None:
            self.extensions.add("KHR_texture_transform")
            transform = {"scale": shorts(scale)}
            if rotation:
                transform["rotation"] = short(rotation)
            use["extensions"] = {"KHR_texture_transform": transform}
        if strength is not None:
            use["scale"] = short(strength)
        return use

    def material(
        self,
        name,
        color=(0.8, 0.8, 0.8),
        metallic=0.0,
        roughness=0.5,
        alpha=1.0,
        alpha_mode=None,
        emissive=None,
        emissive_strength=None,
        color_texture=None,
        roughness_texture=None,
        normal_texture=None,
        double_sided=False,
    ):
        """A metallic-roughness material; colours are linear, textures come from `texture_use`."""
        surface = {
            "baseColorFactor": shorts([*color, alpha]),
            "metallicFactor": short(metallic),
            "roughnessFactor": short(roughness),
        }
        if color_texture is not None:
            surface["baseColorTexture"] = color_texture
        if roughness_texture is not None:
            surface["metallicRoughnessTexture"] = roughness_texture
        material = {"name": name, "pbrMetallicRoughness": surface}
        if normal_texture is not None:
            material["normalTexture"] = normal_texture
        if alpha_mode is not None:
            material["alphaMode"] = alpha_mode
        if emissive is not None:
            material["emissiveFactor"] = shorts(emissive)
        if emissive_strength is not None:
            self.extensions.add("KHR_materials_emissive_strength")
            material["extensions"] = {
                "KHR_materials_emissive_strength": {"emissiveStrength": short(emissive_strength)}
            }
        if double_sided:
            material["doubleSided"] = True
        return self._append("materials", material)

    def _is_textured(self, material):
        description = self.document["materials"][material]
        surface = description["pbrMetallicRoughness"]
        return (
            "baseColorTexture" in surface
            or "metallicRoughnessTexture" in surface
            or "normalTexture" in description
        )

    def _primitive(self, shape, material):
        textured = self._is_textured(material)
        # Keyed by identity and kept with the shape, so that one shape in ten materials is stored once.
        key = (id(shape), textured)
        if key not in self.shared_geometry:
            self.shared_geometry[key] = (shape, self._geometry(shape, textured))
        return {**self.shared_geometry[key][1], "material": material}

    def _geometry(self, shape, textured):
        attributes = {"POSITION": self.accessor(shape.positions, "VEC3", target=ARRAY_BUFFER, bounds=True)}
        for semantic, rows, kind in (
            ("NORMAL", shape.normals, "VEC3"),
            ("TANGENT", shape.tangents if textured else [], "VEC4"),
            ("TEXCOORD_0", shape.texcoords if textured else [], "VEC2"),
        ):
            if rows:
                attributes[semantic] = self.accessor(rows, kind, target=ARRAY_BUFFER)
        if shape.colors:
            attributes["COLOR_0"] = self.accessor(
                shape.colors, "VEC3", UNSIGNED_BYTE, ARRAY_BUFFER, normalized=True
            )
        if shape.joints:
            attributes["JOINTS_0"] = self.accessor(shape.joints, "VEC4", UNSIGNED_BYTE, ARRAY_BUFFER)
            attributes["WEIGHTS_0"] = self.accessor(
                shape.weights, "VEC4", UNSIGNED_BYTE, ARRAY_BUFFER, normalized=True
            )
        component = UNSIGNED_SHORT if len(shape.positions) < 65535 else UNSIGNED_INT
        corners = [corner for triangle in shape.triangles for corner in triangle]
        indices = self.accessor(corners, "SCALAR", component, ELEMENT_ARRAY_BUFFER)
        return {"attributes": attributes, "indices": indices}

    def mesh(self, name, parts, targets=None):
        """A mesh of (shape, material) parts. `targets` are morph targets, only for a mesh of one part: lists
        of {"POSITION": rows, "NORMAL": rows} with differences from the shape."""
        primitives = [self._primitive(shape, material) for shape, material in parts]
        mesh = {"name": name, "primitives": primitives}
        if targets:
            primitives[0]["targets"] = [
                {
                    semantic: self.accessor(
                        rows, "VEC3", target=ARRAY_BUFFER, bounds=semantic == "POSITION"
                    )
                    for semantic, rows in target.items()
                }
                for target in targets
            ]
            mesh["weights"] = [0] * len(targets)
        return self._append("meshes", mesh)

    def node(
        self,
        name,
        parent=None,
        translation=None,
        rotation=None,
        scale=None,
        mesh=None,
        skin=None,
        camera=None,
        light=None,
    ):
        """A node below `parent`, or at the top of the scene; rotation is a quaternion (x, y, z, w)."""
        node = {"name": name}
        for key, value in (("translation", translation), ("rotation", rotation)):
            if value is not None:
                node[key] = shorts(value)
        if scale is not None:
            node["scale"] = shorts([scale] * 3 if isinstance(scale, (int, float)) else scale)
        for key, value in (("mesh", mesh), ("skin", skin), ("camera", camera)):
            if value is not None:
                node[key] = value
        if light is not None:
            node["extensions"] = {"KHR_lights_punctual": {"light": light}}
        index = self._append("nodes", node)
        if parent is None:
            self.document["scenes"][0]["nodes"].append(index)
        else:
            self.document["nodes"][parent].setdefault("children", []).append(index)
        return index

    def camera(self, name, vertical_angle, near=0.05, far=None):
        """A perspective camera; the angle is in radians."""
        perspective = {"yfov": short(vertical_angle), "znear": near, "aspectRatio": 1.77778}
        if far is not None:
            perspective["zfar"] = far
        return self._append("cameras", {"name": name, "type": "perspective", "perspective": perspective})

    def light(self, name, kind, color, intensity, cone=None):
        """A punctual light; `cone` is (inner, outer) half angles in radians of a spot."""
        self.extensions.add("KHR_lights_punctual")
        light = {"name": name, "type": kind, "color": shorts(color), "intensity": short(intensity)}
        if cone is not None:
            light["spot"] = {"innerConeAngle": short(cone[0]), "outerConeAngle": short(cone[1])}
        lights = self.document.setdefault("extensions", {}).setdefault(
            "KHR_lights_punctual", {"lights": []}
        )["lights"]
        lights.append(light)
        return len(lights) - 1

    def skin(self, name, joints, inverse_bind_matrices):
        """A skin; matrices are 16 numbers each, column by column."""
        return self._append(
            "skins",
            {
                "name": name,
                "joints": joints,
                "inverseBindMatrices": self.accessor(inverse_bind_matrices, "MAT4"),
            },
        )

    def animate(self, node, path, times, values, interpolation="LINEAR"):
        """Animate a node's translation, rotation, scale or weights; times are in seconds. For CUBICSPLINE the
        values come in triples: in-tangent, value, out-tangent. Each value is a tuple, one weight per target."""
        kind = {"rotation": "VEC4", "weights": "SCALAR"}.get(path, "VEC3")
        if path == "weights":
            values = [weight for weights in values for weight in weights]
        sampler = {
            "input": self.accessor(times, "SCALAR", bounds=True),
            "output": self.accessor(values, kind),
            "interpolation": interpolation,
        }
        self.samplers.append(sampler)
        self.channels.append(
            {"sampler": len(self.samplers) - 1, "target": {"node": node, "path": path}}
        )

    def save(self, path):
        """Write the .glb file and say how large it is."""
        if self.channels:
            self._append("animations", {"samplers": self.samplers, "channels": self.channels})
        if self.extensions:
            self.document["extensionsUsed"] = sorted(self.extensions)
        self.document["buffers"] = [{"byteLength": len(self.binary)}]
        text = json.dumps(self.document, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        binary = bytes(self.binary) + b"\0" * (-len(self.binary) % 4)
        total = 12 + 8 + len(text) + 8 + len(binary)
        with open(path, "wb") as file:
            file.write(struct.pack("<4sII", b"glTF", 2, total))
            file.write(struct.pack("<I4s", len(text), b"JSON") + text)
            file.write(struct.pack("<I4s", len(binary), b"BIN\0") + binary)
        print(f"{path}: {total} bytes, {self._triangle_count()} triangles")

    def _triangle_count(self):
        document = self.document
        per_mesh = [
            sum(document["accessors"][part["indices"]]["count"] // 3 for part in mesh["primitives"])
            for mesh in document["meshes"]
        ]
        return sum(per_mesh[node["mesh"]] for node in document["nodes"] if "mesh" in node)
