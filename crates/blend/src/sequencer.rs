//! Strips of the video sequencer, which Blender shows in place of what a scene renders.

use crate::view::View;

// As Blender numbers them.
const STRIP_MUTED: i64 = 1 << 5;
const CHANNEL_MUTED: i64 = 1 << 1;
const SOUND: i64 = 4;

/// Does any strip of the scene give a picture? Sounds and muted strips and channels do not.
pub(crate) fn has_pictures(scene: &View<'_>) -> bool {
    let Some(editor) = scene.follow("ed") else {
        return false;
    };
    let muted = editor.list("channels");
    let muted: Vec<i64> = muted
        .filter(|channel| channel.has("flag", CHANNEL_MUTED))
        .filter_map(|channel| channel.integer("index"))
        .collect();
    editor.list("seqbase").any(|strip| {
        let channel = strip.integer("machine");
        strip.integer("type") != Some(SOUND)
            && !strip.has("flag", STRIP_MUTED)
            && !channel.is_some_and(|channel| muted.contains(&channel))
    })
}
