//! Puts accepted tiles together and writes the frame's file.

use crate::{
    job::Shared,
    output::{Format, assemble, display_pixels},
};
use engine::frame_file::{Packing, part_path, write_exr, write_png};
use farm::event::Piece;
use std::sync::Arc;

/// Assembles a frame and writes its file.
pub async fn write_frame(
    shared: &Arc<Shared>,
    frame: i32,
    tiles: Vec<Piece>,
) -> Result<(), String> {
    let _permit = shared.writing.acquire().await.map_err(|e| e.to_string())?;
    let context = &shared.context;
    let out = context.pattern.path(frame);
    let raw = context.work_dir.join(format!("{frame}.exr"));
    let finish = context.blender_finishes && context.pattern.format == Format::Png;
    let write = {
        let (shared, out, raw) = (Arc::clone(shared), out.clone(), raw.clone());
        move || {
            let context = &shared.context;
            let settings = &context.spec.settings;
            let whole = assemble(settings.size, &settings.passes, &tiles, &context.blobs)?;
            let layer = context.layer.as_deref();
            match (context.pattern.format, finish) {
                (Format::Exr, _) => write_exr(&whole, layer, Packing::Zip, &out),
                (Format::Png, true) => write_exr(&whole, layer, Packing::None, &raw),
                (Format::Png, false) => write_png(settings.size, &display_pixels(&whole), &out),
            }
            .map_err(|e| e.to_string())
        }
    };
    let written = tokio::task::spawn_blocking(write)
        .await
        .unwrap_or_else(|e| Err(e.to_string()));
    let written = match (written, finish) {
        (Ok(()), true) => {
            let size = context.spec.settings.size;
            context
                .own_engine
                .finish_png(size, frame, raw.clone(), out.clone())
                .await
        }
        (written, _) => written,
    };
    if finish {
        let _ = tokio::fs::remove_file(&raw).await;
    }
    if written.is_err() {
        // A disk that is full gets its space back; the frame before it stays whole because of the rename.
        let _ = tokio::fs::remove_file(part_path(&out)).await;
    }
    written
}
