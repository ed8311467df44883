//! Puts accepted tiles together and writes the frame's file.

use crate::{
    job::Shared,
    output::{Format, assemble, display_pixels},
};
use engine::{
    blender::{Finished, write_raw},
    frame_file::{Attributes, part_path, write_png},
};
use farm::event::Piece;
use protocol::RenderedRect;
use std::{path::Path, sync::Arc};

/// Assembles a frame and writes its file.
pub async fn write_frame(
    shared: &Arc<Shared>,
    frame: i32,
    tiles: Vec<Piece>,
) -> Result<(), String> {
    let _permit = shared.writing.acquire().await.map_err(|e| e.to_string())?;
    let context = &shared.context;
    let out = context.pattern.path(frame);
    let whole = on_a_thread(shared, move |shared| {
        let settings = &shared.context.spec.settings;
        let context = &shared.context;
        assemble(settings, &tiles, &context.merging, &context.blobs)
    })
    .await?;
    let written = match &context.pattern.format {
        Format::Finished(ending) => {
            let finished = Finished {
                path: out.clone(),
                ending: ending.clone(),
            };
            context.own_engine.finish(frame, whole, finished).await
        }
        Format::Picture => write(shared, &out, whole, None).await,
        Format::Raw => match context.own_engine.metadata(frame).await {
            Ok(metadata) => write(shared, &out, whole, Some(metadata)).await,
            Err(error) => Err(error),
        },
    };
    if written.is_err() {
        // A disk that is full gets its space back; the frame before it stays whole because of the rename.
        let _ = tokio::fs::remove_file(part_path(&out)).await;
    }
    written
}

/// Writes a picture, or raw passes where there is metadata for their file.
async fn write(
    shared: &Arc<Shared>,
    out: &Path,
    whole: RenderedRect,
    metadata: Option<Attributes>,
) -> Result<(), String> {
    let out = out.to_owned();
    on_a_thread(shared, move |shared| {
        let context = &shared.context;
        let size = context.spec.settings.size;
        let written = match metadata {
            Some(metadata) => write_raw(&whole, &context.planes, metadata, &out),
            None => write_png(size, &display_pixels(&whole), &out),
        };
        written.map_err(|e| e.to_string())
    })
    .await
}

async fn on_a_thread<T: Send + 'static>(
    shared: &Arc<Shared>,
    work: impl FnOnce(&Shared) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let shared = Arc::clone(shared);
    let worked = tokio::task::spawn_blocking(move || work(&shared)).await;
    worked.unwrap_or_else(|e| Err(e.to_string()))
}
