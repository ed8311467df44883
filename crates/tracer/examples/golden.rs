//! Prints the blake3 of each pinned world's canonical pixels, one line a world: run it with other profiles and
//! processor flags to see that they agree. With a folder as argument, it writes a PNG of each there too.

#[path = "../tests/worlds/mod.rs"]
mod worlds;

use protocol::{RenderedRect, Size, pixels::task_bytes};
use std::{error::Error, path::Path};
use tracer::render::{Renderer, to_srgb8};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args().nth(1);
    for (name, world) in worlds::golden_worlds() {
        let size = Size::new(161, 91)?;
        let settings = worlds::settings(size, 16);
        let rendered = Renderer::new(world, size)?.render(&settings, 3, size.rect(), &|| false)?;
        let bytes = task_bytes(std::slice::from_ref(&rendered), &settings.passes)?;
        println!("{name} {}", blake3::hash(&bytes));
        if let Some(folder) = &folder {
            write_png(&rendered, &Path::new(folder).join(format!("{name}.png")))?;
        }
    }
    Ok(())
}

fn write_png(rendered: &RenderedRect, path: &Path) -> Result<(), Box<dyn Error>> {
    let (_, plane) = &rendered.planes[0];
    let bytes: Vec<u8> = plane.iter().flat_map(|&pixel| to_srgb8(pixel)).collect();
    let (width, height) = (rendered.rect.width, rendered.rect.height);
    image::RgbaImage::from_raw(width, height, bytes)
        .ok_or("a plane of the wrong size")?
        .save(path)?;
    Ok(())
}
