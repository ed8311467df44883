//! Makes small glTF files for tests.

use protocol::Size;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tracer::gltf::{Scene, SceneError};
use tracer::math::{Vec3, vec3};
use tracer::world::World;

pub const BYTE: u32 = 5120;
pub const UNSIGNED_BYTE: u32 = 5121;
pub const UNSIGNED_SHORT: u32 = 5123;
pub const UNSIGNED_INT: u32 = 5125;
pub const FLOAT: u32 = 5126;

/// A glTF file in the making: its JSON, and the one buffer that everything lies in.
#[derive(Clone)]
pub struct Builder {
    pub json: Value,
    pub buffer: Vec<u8>,
}

pub fn size(width: u64, height: u64) -> Size {
    Size::new(width, height).unwrap()
}

pub fn float_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

pub fn short_bytes(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[track_caller]
pub fn assert_close(actual: Vec3, expected: [f32; 3]) {
    let expected = Vec3::from(expected);
    assert!(
        (actual - expected).length() < 1e-5,
        "{actual:?} is not {expected:?}"
    );
}

impl Builder {
    pub fn new() -> Builder {
        Builder {
            json: json!({ "asset": { "version": "2.0" }, "scene": 0, "scenes": [{ "nodes": [] }] }),
            buffer: Vec::new(),
        }
    }

    /// A file with one triangle in the plane z = 0, facing +z, in one node.
    pub fn triangle() -> Builder {
        let mut builder = Builder::new();
        let primitive = builder.triangle_primitive();
        let mesh = builder.add("meshes", json!({ "primitives": [primitive] }));
        builder.root(json!({ "mesh": mesh }));
        builder
    }

    /// A file that uses nearly everything that can be used.
    pub fn everything() -> Builder {
        let mut builder = Builder::triangle();
        let image = image::RgbaImage::from_pixel(3, 2, image::Rgba([200, 100, 50, 255]));
        let mut png = std::io::Cursor::new(Vec::new());
        image.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let view = builder.view(png.get_ref());
        builder.add("images", json!({ "bufferView": view }));
        let mut jpeg = std::io::Cursor::new(Vec::new());
        let rgb = image::DynamicImage::ImageRgba8(image).to_rgb8();
        rgb.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
        let view = builder.view(jpeg.get_ref());
        builder.add("images", json!({ "bufferView": view }));
        builder.add("samplers", json!({ "wrapS": 33071 }));
        builder.add("textures", json!({ "source": 0, "sampler": 0 }));
        builder.add("textures", json!({ "source": 1 }));
        builder.add(
            "materials",
            json!({ "normalTexture": { "index": 0 }, "pbrMetallicRoughness": { "baseColorTexture": { "index": 1 } } }),
        );
        let texcoords = builder.floats("VEC2", &[0.0, 0.0, 1.0, 0.0, 0.0, 1.0]);
        let normals = builder.floats("VEC3", &[0.0, 0.0, 1.0].repeat(3));
        let joints = builder.accessor("VEC4", UNSIGNED_BYTE, 3, &[0, 1, 0, 0].repeat(3));
        let weights = builder.floats("VEC4", &[0.5, 0.5, 0.0, 0.0].repeat(3));
        let indices = builder.accessor("SCALAR", UNSIGNED_BYTE, 3, &[0, 1, 2]);
        let target = builder.floats("VEC3", &[0.1; 9]);
        let sparse_indices = builder.view(&[1]);
        let sparse_values = builder.view(&[0; 12]);
        builder.json["accessors"][target]["sparse"] = json!({
            "count": 1, "indices": { "bufferView": sparse_indices, "componentType": UNSIGNED_BYTE },
            "values": { "bufferView": sparse_values }
        });
        builder.json["meshes"][0]["primitives"][0] = json!({
            "attributes": {
                "POSITION": 0, "NORMAL": normals, "TEXCOORD_0": texcoords, "JOINTS_0": joints, "WEIGHTS_0": weights
            },
            "indices": indices, "material": 0, "targets": [{ "POSITION": target }]
        });
        let joint = builder.root(json!({ "rotation": [0, 0, 0, 1] }));
        let child = builder.add("nodes", json!({ "translation": [0, 1, 0] }));
        builder.json["nodes"][joint]["children"] = json!([child]);
        builder.add("skins", json!({ "joints": [joint, child] }));
        builder.json["nodes"][0]["skin"] = json!(0);
        builder.add(
            "cameras",
            json!({ "type": "perspective", "perspective": { "yfov": 1, "znear": 0.1 } }),
        );
        builder.root(json!({ "camera": 0, "translation": [0, 0, 5] }));
        builder.json["extensions"]["KHR_lights_punctual"]["lights"] =
            json!([{ "type": "spot", "spot": {} }]);
        builder.root(json!({ "extensions": { "KHR_lights_punctual": { "light": 0 } } }));
        builder.json["scenes"][0]["extras"] =
            json!({ "environment": { "color": [1, 1, 1] }, "fps": 24 });
        builder.animate(
            joint,
            "rotation",
            "LINEAR",
            &[0.0, 1.0],
            &[0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0],
        );
        builder.animate(child, "translation", "CUBICSPLINE", &[0.0, 1.0], &[0.5; 18]);
        builder.animate(0, "weights", "STEP", &[0.0, 1.0], &[0.0, 1.0]);
        builder
    }

    /// The triangle 0, +x, +y.
    pub fn triangle_primitive(&mut self) -> Value {
        let corners = [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0];
        let positions = self.floats("VEC3", &corners);
        json!({ "attributes": { "POSITION": positions } })
    }

    /// Appends to one of the file's lists and gives the index.
    pub fn add(&mut self, list: &str, value: Value) -> usize {
        let list = &mut self.json[list];
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().unwrap();
        list.push(value);
        list.len() - 1
    }

    /// Adds a node to the scene.
    pub fn root(&mut self, node: Value) -> usize {
        let node = self.add("nodes", node);
        let roots = self.json["scenes"][0]["nodes"].as_array_mut().unwrap();
        roots.push(json!(node));
        node
    }

    pub fn view(&mut self, bytes: &[u8]) -> usize {
        self.buffer.resize(self.buffer.len().next_multiple_of(4), 0);
        let offset = self.buffer.len();
        self.buffer.extend(bytes);
        let view = json!({ "buffer": 0, "byteOffset": offset, "byteLength": bytes.len() });
        self.add("bufferViews", view)
    }

    pub fn accessor(
        &mut self,
        shape: &str,
        component_type: u32,
        count: usize,
        bytes: &[u8],
    ) -> usize {
        let view = self.view(bytes);
        let accessor = json!({
            "bufferView": view, "componentType": component_type, "count": count, "type": shape
        });
        self.add("accessors", accessor)
    }

    pub fn floats(&mut self, shape: &str, values: &[f32]) -> usize {
        let width = match shape {
            "SCALAR" => 1,
            "VEC2" => 2,
            "VEC3" => 3,
            "VEC4" => 4,
            _ => 16,
        };
        self.accessor(shape, FLOAT, values.len() / width, &float_bytes(values))
    }

    /// Animates a property of a node with keys at the given times.
    pub fn animate(
        &mut self,
        node: usize,
        path: &str,
        interpolation: &str,
        times: &[f32],
        values: &[f32],
    ) {
        let input = self.floats("SCALAR", times);
        let shape = match path {
            "rotation" => "VEC4",
            "weights" => "SCALAR",
            _ => "VEC3",
        };
        let output = self.floats(shape, values);
        self.add(
            "animations",
            json!({
                "samplers": [{ "input": input, "output": output, "interpolation": interpolation }],
                "channels": [{ "sampler": 0, "target": { "node": node, "path": path } }]
            }),
        );
    }

    /// The bytes of the `.glb` file.
    pub fn glb(&self) -> Vec<u8> {
        let mut json = self.json.clone();
        json["buffers"] = json!([{ "byteLength": self.buffer.len() }]);
        let mut text = json.to_string().into_bytes();
        text.resize(text.len().next_multiple_of(4), b' ');
        let mut binary = self.buffer.clone();
        binary.resize(binary.len().next_multiple_of(4), 0);
        let length = 12 + 8 + text.len() + 8 + binary.len();
        let mut glb = b"glTF".to_vec();
        let word = |bytes: &mut Vec<u8>, value: usize| {
            bytes.extend((value as u32).to_le_bytes());
        };
        word(&mut glb, 2);
        word(&mut glb, length);
        word(&mut glb, text.len());
        glb.extend(b"JSON");
        glb.extend(text);
        word(&mut glb, binary.len());
        glb.extend(b"BIN\0");
        glb.extend(binary);
        glb
    }

    pub fn load(&self) -> Result<Scene, SceneError> {
        load_bytes(&self.glb())
    }

    /// The world of a frame, which must exist.
    #[track_caller]
    pub fn world(&self, frame: i32) -> World {
        self.load().unwrap().world(frame, size(64, 64)).unwrap()
    }

    /// The fault's message, which must exist.
    #[track_caller]
    pub fn fault(&self) -> String {
        self.load().unwrap_err().fault.to_string()
    }
}

pub fn load_bytes(bytes: &[u8]) -> Result<Scene, SceneError> {
    let folder = TempDir::new().unwrap();
    Scene::load(&write(folder.path(), "scene.glb", bytes))
}

pub fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Twice the area vector of a triangle of a world: its direction tells the winding.
pub fn facing(world: &World, mesh: usize, triangle: usize) -> Vec3 {
    let mesh = &world.meshes[mesh];
    let [a, b, c] = mesh.triangles[triangle].map(|vertex| mesh.positions[vertex as usize]);
    (b - a).cross(c - a)
}

pub const FORWARD: Vec3 = vec3(0.0, 0.0, 1.0);
