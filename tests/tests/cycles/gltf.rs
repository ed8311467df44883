//! Writes small glTF scenes: their JSON, one buffer file, and the images that they name.

use serde_json::{Value, json};
use std::{f32::consts::PI, fs, path::Path};

const FLOAT: u32 = 5126;
const UNSIGNED_INT: u32 = 5125;
const NEAREST: u32 = 9728;

/// A glTF file in the making.
#[derive(Clone)]
pub struct Gltf {
    json: Value,
    buffer: Vec<u8>,
    /// Files that lie beside it, by name.
    files: Vec<(String, Vec<u8>)>,
}

/// A triangle mesh with one normal and one texture coordinate a vertex.
#[derive(Default)]
pub struct Shape {
    positions: Vec<[f32; 3]>,
    normals: Vec<[f32; 3]>,
    texcoords: Vec<[f32; 2]>,
    triangles: Vec<[u32; 3]>,
}

fn cross(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [
        a[1] * b[2] - a[2] * b[1],
        a[2] * b[0] - a[0] * b[2],
        a[0] * b[1] - a[1] * b[0],
    ]
}

fn add(a: [f32; 3], b: [f32; 3]) -> [f32; 3] {
    [a[0] + b[0], a[1] + b[1], a[2] + b[2]]
}

fn unit(a: [f32; 3]) -> [f32; 3] {
    let length = a.iter().map(|x| x * x).sum::<f32>().sqrt();
    a.map(|x| x / length)
}

impl Shape {
    /// Adds a parallelogram; its front is where `across` x `up` points.
    pub fn quad(mut self, corner: [f32; 3], across: [f32; 3], up: [f32; 3]) -> Shape {
        let first = self.positions.len() as u32;
        let top = add(corner, up);
        self.positions
            .extend([corner, add(corner, across), add(top, across), top]);
        self.normals.extend([unit(cross(across, up)); 4]);
        self.texcoords
            .extend([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]]);
        self.triangles
            .extend([[first, first + 1, first + 2], [first, first + 2, first + 3]]);
        self
    }

    /// Adds a block on the ground, turned about the vertical axis.
    pub fn block(self, [x, y, z]: [f32; 3], [wide, high, deep]: [f32; 3], turn: f32) -> Shape {
        let (sin, cos) = turn.sin_cos();
        let (right, front) = (
            [cos * wide, 0.0, -sin * wide],
            [sin * deep, 0.0, cos * deep],
        );
        let up = [0.0, high, 0.0];
        let back = front.map(|x| -x);
        let left = right.map(|x| -x);
        let near = add([x, y, z], front);
        let far = add([x, y, z], right);
        self.quad(near, right, up)
            .quad(add(near, right), back, up)
            .quad(far, left, up)
            .quad([x, y, z], front, up)
            .quad(add(near, up), right, back)
            .quad([x, y, z], right, front)
    }

    /// Adds a sphere with smooth normals, so fine that its outline is round in a small picture.
    pub fn sphere(mut self, center: [f32; 3], radius: f32) -> Shape {
        const RINGS: u32 = 64;
        const SEGMENTS: u32 = 2 * RINGS;
        let first = self.positions.len() as u32;
        for ring in 0..=RINGS {
            for segment in 0..=SEGMENTS {
                let (down, around) = (ring as f32 / RINGS as f32, segment as f32 / SEGMENTS as f32);
                let (sin, cos) = (down * PI).sin_cos();
                let (x, z) = (around * 2.0 * PI).sin_cos();
                let normal = unit([sin * x, cos, sin * z]);
                self.positions.push(add(center, normal.map(|n| n * radius)));
                self.normals.push(normal);
                self.texcoords.push([around, down]);
            }
        }
        for ring in 0..RINGS {
            for segment in 0..SEGMENTS {
                let upper = first + ring * (SEGMENTS + 1) + segment;
                let lower = upper + SEGMENTS + 1;
                if ring > 0 {
                    self.triangles.push([upper, lower, upper + 1]);
                }
                if ring + 1 < RINGS {
                    self.triangles.push([upper + 1, lower, lower + 1]);
                }
            }
        }
        self
    }
}

impl Gltf {
    /// A scene of nothing but a camera at `position` that looks along -z, `pitch` radians downwards.
    pub fn seen_from(position: [f32; 3], pitch: f32, vertical_angle: f32) -> Gltf {
        let mut gltf = Gltf {
            json: json!({
                "asset": { "version": "2.0" }, "scene": 0, "scenes": [{ "nodes": [] }],
                "extensionsUsed": ["KHR_lights_punctual", "KHR_materials_emissive_strength"],
                "cameras": [{
                    "type": "perspective", "perspective": { "yfov": vertical_angle, "znear": 0.01 }
                }]
            }),
            buffer: Vec::new(),
            files: Vec::new(),
        };
        let rotation = [-(pitch / 2.0).sin(), 0.0, 0.0, (pitch / 2.0).cos()];
        gltf.root(json!({ "camera": 0, "translation": position, "rotation": rotation }));
        gltf
    }

    fn push(&mut self, list: &[&str], value: Value) -> usize {
        let list = list.iter().fold(&mut self.json, |at, name| &mut at[name]);
        if list.is_null() {
            *list = json!([]);
        }
        let list = list.as_array_mut().expect("a list");
        list.push(value);
        list.len() - 1
    }

    fn root(&mut self, node: Value) {
        let node = self.push(&["nodes"], node);
        let roots = self.json["scenes"][0]["nodes"].as_array_mut();
        roots.expect("a list").push(json!(node));
    }

    fn accessor<const N: usize>(&mut self, kind: &str, values: &[[f32; N]]) -> usize {
        let fold = |start: f32, choose: fn(f32, f32) -> f32| -> Vec<f32> {
            let column = |i: usize| values.iter().map(|v| v[i]).fold(start, choose);
            (0..N).map(column).collect()
        };
        let (low, high) = (fold(f32::MAX, f32::min), fold(f32::MIN, f32::max));
        let bytes: Vec<u8> = values
            .iter()
            .flatten()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let view = self.view(&bytes);
        let accessor = json!({
            "bufferView": view, "componentType": FLOAT, "count": values.len(), "type": kind,
            "min": low, "max": high
        });
        self.push(&["accessors"], accessor)
    }

    fn view(&mut self, bytes: &[u8]) -> usize {
        let offset = self.buffer.len();
        self.buffer.extend(bytes);
        let view = json!({ "buffer": 0, "byteOffset": offset, "byteLength": bytes.len() });
        self.push(&["bufferViews"], view)
    }

    /// Adds a shape of one material, given as in the file. Materials are double-sided, because Cycles culls nothing.
    pub fn shape(mut self, shape: &Shape, mut material: Value) -> Gltf {
        material["doubleSided"] = json!(true);
        let material = self.push(&["materials"], material);
        let position = self.accessor("VEC3", &shape.positions);
        let normal = self.accessor("VEC3", &shape.normals);
        let texcoord = self.accessor("VEC2", &shape.texcoords);
        let indices: Vec<u8> = shape
            .triangles
            .iter()
            .flatten()
            .flat_map(|index| index.to_le_bytes())
            .collect();
        let view = self.view(&indices);
        let indices = json!({
            "bufferView": view, "componentType": UNSIGNED_INT, "count": shape.triangles.len() * 3,
            "type": "SCALAR"
        });
        let indices = self.push(&["accessors"], indices);
        let mesh = json!({ "primitives": [{
            "attributes": { "POSITION": position, "NORMAL": normal, "TEXCOORD_0": texcoord },
            "indices": indices, "material": material
        }] });
        let mesh = self.push(&["meshes"], mesh);
        self.root(json!({ "mesh": mesh }));
        self
    }

    /// Adds a light, given as in the file, at a node with this translation and rotation.
    pub fn light(mut self, light: Value, translation: [f32; 3], rotation: [f32; 4]) -> Gltf {
        let light = self.push(&["extensions", "KHR_lights_punctual", "lights"], light);
        self.root(json!({
            "translation": translation, "rotation": rotation,
            "extensions": { "KHR_lights_punctual": { "light": light } }
        }));
        self
    }

    /// Adds an image as texture 0, shown without interpolation: Cycles interpolates sRGB images before it makes
    /// them linear, glTF asks for the opposite order.
    pub fn texture(mut self, name: &str, image: &image::RgbImage) -> Gltf {
        let mut png = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut png, image::ImageFormat::Png)
            .expect("a picture is encoded");
        self.files.push((name.to_owned(), png.into_inner()));
        self.push(&["images"], json!({ "uri": name }));
        self.push(
            &["samplers"],
            json!({ "magFilter": NEAREST, "minFilter": NEAREST }),
        );
        self.push(&["textures"], json!({ "source": 0, "sampler": 0 }));
        self
    }

    /// Names the scene's environment.
    pub fn environment(mut self, environment: Value) -> Gltf {
        self.json["scenes"][0]["extras"] = json!({ "environment": environment });
        self
    }

    /// Adds a file beside the scene.
    pub fn file(mut self, name: &str, bytes: Vec<u8>) -> Gltf {
        self.files.push((name.to_owned(), bytes));
        self
    }

    /// Changes the number at a JSON pointer.
    pub fn with(mut self, pointer: &str, change: impl Fn(f64) -> f64) -> Gltf {
        let value = self.json.pointer_mut(pointer).expect("the pointer fits");
        *value = json!(change(value.as_f64().expect("a number")));
        self
    }

    /// Writes `scene.gltf` and what it needs.
    pub fn write(&self, folder: &Path) {
        let mut json = self.json.clone();
        json["buffers"] = json!([{ "uri": "scene.bin", "byteLength": self.buffer.len() }]);
        let own = [
            ("scene.gltf", json.to_string().into_bytes()),
            ("scene.bin", self.buffer.clone()),
        ];
        let beside = self
            .files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes));
        for (name, bytes) in own.iter().map(|(n, b)| (*n, b)).chain(beside) {
            fs::write(folder.join(name), bytes).expect("the scene is written");
        }
    }
}
