//! Renders a frame of a scene, or one of the test worlds, to a PNG and prints how long it took:
//! `picture SCENE FRAME WIDTHxHEIGHT SAMPLES FILE`, where SCENE is a glTF file, or one of the worlds box, lights and sky,
//! or a number: a landscape of twice the square of that many triangles.

#[path = "../tests/worlds/mod.rs"]
mod worlds;

use protocol::{Pass, Size};
use std::{error::Error, path::Path, time::Instant};
use tracer::gltf::Scene;
use tracer::render::{Renderer, to_srgb8};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [scene, frame, size, samples, file] = &arguments[..] else {
        return Err("usage: picture SCENE FRAME WIDTHxHEIGHT SAMPLES FILE".into());
    };
    let size: Size = size.parse()?;
    let frame: i32 = frame.parse()?;
    let world = match scene.as_str() {
        "box" => worlds::cornell_box(),
        "lights" => worlds::punctual_lights(),
        "sky" => worlds::sky_and_holes(),
        file if Path::new(file).is_file() => Scene::load(Path::new(file))?.world(frame, size)?,
        side => worlds::landscape(side.parse()?),
    };
    let triangles: usize = world.meshes.iter().map(|mesh| mesh.triangles.len()).sum();
    let samples = samples.parse()?;
    let mut settings = worlds::settings(size, samples);
    settings.passes = vec![Pass::Combined];
    let start = Instant::now();
    let renderer = Renderer::new(world, size)?;
    let prepared = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let rendered = renderer.render(&settings, frame, size.rect(), &|| false)?;
    let traced = start.elapsed().as_secs_f64();
    println!(
        "{triangles} triangles, {prepared:.3} s to prepare, {traced:.2} s to trace, {:.2} million samples/s",
        size.area() as f64 * f64::from(samples) / traced / 1e6
    );
    let (_, plane) = &rendered.planes[0];
    let bytes: Vec<u8> = plane.iter().flat_map(|&pixel| to_srgb8(pixel)).collect();
    image::RgbaImage::from_raw(size.width, size.height, bytes)
        .ok_or("a plane of the wrong size")?
        .save(file)?;
    Ok(())
}
