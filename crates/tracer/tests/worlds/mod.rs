//! Small worlds made in code, shared by tests and examples; together they use every feature of the renderer.

// Each test and example uses a part of this.
#![allow(dead_code)]

use protocol::{Pass, RenderSettings, Size};
use std::{f64::consts::PI, sync::Arc};
use tracer::{
    math::{Vec3, vec3},
    world::{
        AlphaMode, Camera, Environment, Light, LightKind, Material, Mesh, Projection, Texture,
        TextureRef, World, Wrap,
    },
};

/// The frame in which worlds are pinned: not whole cells in either direction.
pub const GOLDEN_SIZE: Size = Size {
    width: 161,
    height: 91,
};
/// Samples a pixel of pinned worlds.
pub const GOLDEN_SAMPLES: u32 = 8;
/// Frame number of pinned worlds.
pub const GOLDEN_FRAME: i32 = 3;

/// The worlds whose pixels are pinned, by name.
pub fn golden_worlds() -> Vec<(&'static str, World)> {
    vec![
        ("box", cornell_box()),
        ("lights", punctual_lights()),
        ("sky", sky_and_holes()),
    ]
}

/// Settings with every pass.
pub fn settings(size: Size, samples: u32) -> RenderSettings {
    RenderSettings {
        size,
        samples,
        seed: 7,
        passes: Pass::ALL.to_vec(),
        guard_px: 0,
        scene: None,
    }
}

/// A world with nothing in it but a camera at `position` that looks at `target`.
pub fn empty(position: Vec3, target: Vec3, tan_half_y: f32) -> World {
    World {
        camera: look_at(position, target, Projection::Perspective { tan_half_y }),
        meshes: Vec::new(),
        materials: Vec::new(),
        textures: Arc::default(),
        lights: Vec::new(),
        environment: Arc::new(Environment::Constant(Vec3::ZERO)),
    }
}

/// A camera with y up.
pub fn look_at(position: Vec3, target: Vec3, projection: Projection) -> Camera {
    let forward = (target - position).normalized();
    let right = forward.cross(vec3(0.0, 1.0, 0.0)).normalized();
    Camera {
        position,
        right,
        up: right.cross(forward),
        forward,
        projection,
        near: 0.01,
        far: f32::INFINITY,
    }
}

/// A rough dielectric, shaded from both sides.
pub fn matte(color: [f32; 3]) -> Material {
    let [red, green, blue] = color;
    Material {
        name: "matte".into(),
        base_color: [red, green, blue, 1.0],
        base_color_texture: None,
        metallic: 0.0,
        roughness: 1.0,
        metallic_roughness_texture: None,
        normal_texture: None,
        normal_scale: 1.0,
        occlusion_texture: None,
        emissive: Vec3::ZERO,
        emissive_texture: None,
        alpha: AlphaMode::Opaque,
        double_sided: true,
        unlit: false,
    }
}

/// A surface of this metalness and roughness.
pub fn glossy(color: [f32; 3], metallic: f32, roughness: f32) -> Material {
    Material {
        metallic,
        roughness,
        ..matte(color)
    }
}

/// A black surface that gives light.
pub fn emitter(emissive: Vec3) -> Material {
    Material {
        emissive,
        ..glossy([0.0; 3], 1.0, 1.0)
    }
}

/// The whole of an image.
pub fn whole(texture: usize) -> TextureRef {
    TextureRef {
        texture,
        texcoord: 0,
        offset: [0.0; 2],
        rotation: 0.0,
        scale: [1.0; 2],
    }
}

/// A parallelogram; its front is where `across` x `up` points. Texture coordinates have v pointing down.
pub fn quad(corner: Vec3, across: Vec3, up: Vec3, material: usize) -> Mesh {
    let normal = across.cross(up).normalized();
    Mesh {
        positions: vec![corner, corner + across, corner + across + up, corner + up],
        normals: vec![normal; 4],
        tangents: vec![(across.normalized(), 1.0); 4],
        texcoords: [
            vec![[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]],
            Vec::new(),
        ],
        colors: Vec::new(),
        triangles: vec![[0, 1, 2], [0, 2, 3]],
        material,
    }
}

/// A smooth sphere of latitudes and longitudes, with texture coordinates and tangents.
pub fn sphere(center: Vec3, radius: f32, rings: u32, material: usize) -> Mesh {
    let segments = rings * 2;
    let mut mesh = Mesh {
        material,
        ..Mesh::default()
    };
    for ring in 0..=rings {
        for segment in 0..=segments {
            let (down, around) = (
                f64::from(ring) / f64::from(rings),
                f64::from(segment) / f64::from(segments),
            );
            let (theta, phi) = (down * PI, around * 2.0 * PI);
            let (sin, cos) = (libm::sin(theta), libm::cos(theta));
            let (sin_phi, cos_phi) = (libm::sin(phi), libm::cos(phi));
            let normal = vec3((sin * sin_phi) as f32, cos as f32, (sin * cos_phi) as f32);
            mesh.positions.push(center + normal * radius);
            mesh.normals.push(normal);
            mesh.tangents
                .push((vec3(cos_phi as f32, 0.0, -sin_phi as f32), 1.0));
            mesh.texcoords[0].push([around as f32, down as f32]);
        }
    }
    let row = segments + 1;
    for ring in 0..rings {
        for segment in 0..segments {
            let a = ring * row + segment;
            let (b, c, d) = (a + row, a + row + 1, a + 1);
            if ring + 1 < rings {
                mesh.triangles.push([a, b, c]);
            }
            if ring > 0 {
                mesh.triangles.push([a, c, d]);
            }
        }
    }
    mesh
}

/// An image from a function of column and row.
pub fn image(
    [width, height]: [u32; 2],
    wrap: Wrap,
    nearest: bool,
    pixel: impl Fn(u32, u32) -> [f32; 4],
) -> Texture {
    Texture {
        width,
        height,
        pixels: (0..width * height)
            .map(|i| pixel(i % width, i / width))
            .collect(),
        wrap: [wrap; 2],
        nearest,
    }
}

fn checker(x: u32, y: u32) -> [f32; 4] {
    match (x + y) % 2 {
        0 => [0.8, 0.75, 0.6, 1.0],
        _ => [0.1, 0.15, 0.3, 1.0],
    }
}

/// A tangent-space normal map of round bumps.
fn bumps(x: u32, y: u32) -> [f32; 4] {
    let (dx, dy) = ((x % 8) as f32 - 3.5, (y % 8) as f32 - 3.5);
    let inside = dx * dx + dy * dy < 12.0;
    let tilt = if inside { 0.11 } else { 0.0 };
    [0.5 + dx * tilt, 0.5 - dy * tilt, 0.9, 1.0]
}

/// A closed room with a textured lamp, a bumpy wall, a mirror ball and a rough dielectric one.
pub fn cornell_box() -> World {
    let mut world = empty(vec3(0.0, 1.0, 3.4), vec3(0.0, 1.0, 0.0), 0.32);
    world.textures = Arc::new(vec![
        image([32, 32], Wrap::Repeat, false, bumps),
        image([4, 4], Wrap::Clamp, false, |x, y| {
            let glow = (x + 2 * y) as f32 / 9.0;
            [1.0, 0.4 + 0.6 * glow, glow, 1.0]
        }),
    ]);
    world.materials = vec![
        matte([0.73, 0.73, 0.73]),
        matte([0.65, 0.05, 0.05]),
        Material {
            normal_texture: Some(TextureRef {
                scale: [2.0, 2.0],
                ..whole(0)
            }),
            ..glossy([0.12, 0.45, 0.15], 0.0, 0.4)
        },
        Material {
            emissive_texture: Some(whole(1)),
            double_sided: false,
            ..emitter(vec3(17.0, 14.0, 9.0))
        },
        glossy([0.95, 0.93, 0.88], 1.0, 0.08),
        glossy([0.2, 0.3, 0.8], 0.0, 0.25),
    ];
    let (x, y, z) = (
        vec3(2.0, 0.0, 0.0),
        vec3(0.0, 2.0, 0.0),
        vec3(0.0, 0.0, 2.0),
    );
    let corner = vec3(-1.0, 0.0, -1.0);
    world.meshes = vec![
        quad(corner + z, x, -z, 0),
        quad(corner + y, x, z, 0),
        quad(corner, x, y, 0),
        quad(corner, z, y, 1),
        quad(corner + x + z, -z, y, 2),
        quad(
            vec3(-0.35, 1.98, -0.35),
            vec3(0.7, 0.0, 0.0),
            vec3(0.0, 0.0, 0.7),
            3,
        ),
        sphere(vec3(-0.4, 0.4, -0.3), 0.4, 24, 4),
        sphere(vec3(0.42, 0.3, 0.25), 0.3, 24, 5),
    ];
    world
}

/// A checkered floor and a row of spheres from mirror to matte under a point, a spot and a directional light.
pub fn punctual_lights() -> World {
    let mut world = empty(vec3(0.5, 2.2, 6.0), vec3(0.0, 0.5, 0.0), 0.36);
    world.textures = Arc::new(vec![image([16, 16], Wrap::Mirror, true, checker)]);
    world.materials = vec![Material {
        base_color_texture: Some(TextureRef {
            rotation: 0.3,
            scale: [1.5, 1.5],
            offset: [0.1, 0.0],
            ..whole(0)
        }),
        ..glossy([1.0; 3], 0.0, 0.5)
    }];
    world.meshes = vec![quad(
        vec3(-4.0, 0.0, 3.0),
        vec3(8.0, 0.0, 0.0),
        vec3(0.0, 0.0, -8.0),
        0,
    )];
    for i in 0..5 {
        let step = i as f32 / 4.0;
        world
            .materials
            .push(glossy([0.9, 0.6, 0.3], 1.0 - step * 0.5, step));
        let center = vec3(-2.2 + 1.1 * i as f32, 0.5, 0.0);
        world
            .meshes
            .push(sphere(center, 0.5, 16, world.materials.len() - 1));
    }
    let light = |kind, intensity, range| Light {
        kind,
        intensity,
        range,
    };
    world.lights = vec![
        light(
            LightKind::Point {
                position: vec3(-2.0, 3.0, 2.0),
            },
            vec3(9.0, 8.0, 7.0),
            12.0,
        ),
        light(
            LightKind::Spot {
                position: vec3(2.5, 3.5, 1.0),
                direction: vec3(-0.3, -1.0, -0.3).normalized(),
                cos_inner: 0.95,
                cos_outer: 0.8,
            },
            vec3(5.0, 9.0, 20.0),
            f32::INFINITY,
        ),
        light(
            LightKind::Directional {
                direction: vec3(0.5, -1.0, -0.8).normalized(),
            },
            vec3(0.5, 0.45, 0.4),
            f32::INFINITY,
        ),
    ];
    world
}

/// A sky with a sun over leaves cut out of a quad, a pane of tinted glass by coverage, an unlit sign, a painted
/// open box of which back faces are culled, seen by an orthographic camera.
pub fn sky_and_holes() -> World {
    let mut world = empty(vec3(0.0, 2.0, 5.0), vec3(0.0, 0.6, 0.0), 0.36);
    world.camera = look_at(
        vec3(1.0, 2.2, 5.0),
        vec3(0.0, 0.7, 0.0),
        Projection::Orthographic { half_height: 1.8 },
    );
    world.textures = Arc::new(vec![
        image([16, 16], Wrap::Repeat, false, |x, y| {
            let hole = (x / 2 + y / 2) % 3 == 0;
            [0.2, 0.6, 0.1, if hole { 0.0 } else { 1.0 }]
        }),
        image([8, 8], Wrap::Clamp, false, |x, y| {
            [1.0, 0.1 + 0.1 * x as f32, y as f32 / 7.0, 1.0]
        }),
    ]);
    world.materials = vec![
        matte([0.5, 0.45, 0.4]),
        Material {
            base_color_texture: Some(whole(0)),
            alpha: AlphaMode::Mask { cutoff: 0.5 },
            ..matte([1.0; 3])
        },
        Material {
            base_color: [0.9, 0.1, 0.1, 0.4],
            alpha: AlphaMode::Blend,
            ..glossy([1.0; 3], 0.0, 0.1)
        },
        Material {
            unlit: true,
            ..matte([0.1, 0.3, 0.9])
        },
        Material {
            metallic_roughness_texture: Some(whole(1)),
            double_sided: false,
            ..glossy([1.0; 3], 1.0, 0.6)
        },
    ];
    let mut painted = quad(
        vec3(-1.6, 0.0, 0.9),
        vec3(0.9, 0.0, 0.3),
        vec3(0.0, 0.9, 0.0),
        0,
    );
    painted.colors = vec![
        [1.0, 0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0, 1.0],
        [0.0, 0.0, 1.0, 1.0],
        [1.0, 1.0, 0.0, 1.0],
    ];
    painted.normals.clear();
    world.meshes = vec![
        quad(
            vec3(-3.0, 0.0, 3.0),
            vec3(6.0, 0.0, 0.0),
            vec3(0.0, 0.0, -6.0),
            0,
        ),
        quad(
            vec3(-1.8, 0.1, -0.8),
            vec3(1.6, 0.0, 0.0),
            vec3(0.0, 1.8, -0.2),
            1,
        ),
        quad(
            vec3(-0.2, 0.05, 1.2),
            vec3(1.4, 0.0, 0.2),
            vec3(0.0, 1.1, 0.0),
            2,
        ),
        quad(
            vec3(1.3, 0.9, -0.6),
            vec3(0.7, 0.0, 0.0),
            vec3(0.0, 0.5, 0.0),
            3,
        ),
        // Its back is towards the camera, so it is not seen, and casts no shadow to its front.
        quad(
            vec3(1.0, 0.0, 2.0),
            vec3(0.0, 1.5, 0.0),
            vec3(0.7, 0.0, 0.0),
            4,
        ),
        sphere(vec3(0.45, 0.45, -0.1), 0.45, 20, 4),
        painted,
    ];
    world.environment = Arc::new(sky());
    world
}

/// A blue gradient over brown ground, with a sun of a few pixels.
pub fn sky() -> Environment {
    let (width, height) = (64, 32);
    let pixel = |i: u32| {
        let (x, y) = (i % width, i / width);
        let up = 1.0 - y as f32 / 16.0;
        match (x, y) {
            (43..=44, 6..=7) => vec3(180.0, 160.0, 120.0),
            _ if up > 0.0 => vec3(0.5, 0.65, 0.8) * (1.0 - up * 0.5),
            _ => vec3(0.15, 0.12, 0.1),
        }
    };
    Environment::Map {
        width,
        height,
        pixels: (0..width * height).map(pixel).collect(),
    }
}

/// A wavy landscape of `side * side * 2` smooth triangles with spheres on it under a sky: for timing.
pub fn landscape(side: u32) -> World {
    let mut world = empty(vec3(0.0, 6.0, 14.0), vec3(0.0, 0.0, 0.0), 0.4);
    world.materials = vec![matte([0.55, 0.5, 0.4]), glossy([0.9, 0.8, 0.6], 1.0, 0.25)];
    let mut mesh = Mesh::default();
    let height = |x: f64, z: f64| {
        libm::sin(x * 1.3) * libm::cos(z * 1.1) * 0.7 + 0.1 * libm::sin(x * 9.0 + z * 7.0)
    };
    for i in 0..(side + 1) * (side + 1) {
        let at = |index: u32| f64::from(index) / f64::from(side) * 20.0 - 10.0;
        let (x, z) = (at(i % (side + 1)), at(i / (side + 1)));
        let slope = |dx: f64, dz: f64| {
            (height(x + dx * 1e-3, z + dz * 1e-3) - height(x - dx * 1e-3, z - dz * 1e-3)) / 2e-3
        };
        mesh.positions
            .push(vec3(x as f32, height(x, z) as f32, z as f32));
        mesh.normals
            .push(vec3(-slope(1.0, 0.0) as f32, 1.0, -slope(0.0, 1.0) as f32).normalized());
    }
    for i in 0..side * side {
        let a = i / side * (side + 1) + i % side;
        let (b, c, d) = (a + side + 1, a + side + 2, a + 1);
        mesh.triangles.extend([[a, b, c], [a, c, d]]);
    }
    world.meshes.push(mesh);
    for i in 0..9 {
        let center = vec3((i % 3) as f32 * 4.0 - 4.0, 1.2, (i / 3) as f32 * 4.0 - 4.0);
        world.meshes.push(sphere(center, 0.8, 32, 1));
    }
    world.environment = Arc::new(sky());
    world
}
