//! Which Blender a job needs, and which one is here.

use protocol::BlenderVersion;

/// Refuses another release by name: it renders other pixels, so that all of its work would be thrown away.
pub fn check_blender(
    needed: Option<BlenderVersion>,
    own: Option<BlenderVersion>,
) -> Result<(), String> {
    match (needed, own) {
        (Some(needed), Some(own)) if needed != own => Err(format!(
            "the job needs Blender {needed}, this worker has {own}"
        )),
        (Some(needed), None) => Err(format!(
            "the job needs Blender {needed}, this worker has none"
        )),
        _ => Ok(()),
    }
}
