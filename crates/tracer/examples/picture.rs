//! Renders one of the test worlds to a PNG and prints how long it took:
//! `picture WORLD WIDTHxHEIGHT SAMPLES FILE`, where WORLD is box, lights, sky, or a number: a landscape of twice the
//! square of that many triangles.

#[path = "../tests/worlds/mod.rs"]
mod worlds;

use protocol::{Pass, Size};
use std::{error::Error, time::Instant};
use tracer::render::{Renderer, to_srgb8};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [world, size, samples, file] = &arguments[..] else {
        return Err("usage: picture WORLD WIDTHxHEIGHT SAMPLES FILE".into());
    };
    let world = match world.as_str() {
        "box" => worlds::cornell_box(),
        "lights" => worlds::punctual_lights(),
        "sky" => worlds::sky_and_holes(),
        side => worlds::landscape(side.parse()?),
    };
    let triangles: usize = world.meshes.iter().map(|mesh| mesh.triangles.len()).sum();
    let size: Size = size.parse()?;
    let samples = samples.parse()?;
    let mut settings = worlds::settings(size, samples);
    settings.passes = vec![Pass::Combined];
    let start = Instant::now();
    let renderer = Renderer::new(world, size)?;
    let prepared = start.elapsed().as_secs_f64();
    let start = Instant::now();
    let rendered = renderer.render(&settings, 1, size.rect(), &|| false)?;
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
