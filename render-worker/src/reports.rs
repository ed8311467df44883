//! What `doctor` prints.

use crate::{arguments::ReportArguments, config::WorkerError, main_command::Keys};
use engine::doctor;
use serde_json::json;
use std::path::Path;

/// Engines, sandbox and keys of this machine.
pub fn doctor(arguments: &ReportArguments, data_dir: &Path) -> Result<String, WorkerError> {
    let report = doctor::examine(arguments.blender.as_deref());
    let keys = Keys::load(data_dir)?;
    let (node, payee) = (keys.identity.node(), keys.payee);
    if !arguments.json {
        return Ok(format!(
            "{report}ok       node {node}\nok       paid to {payee}\nok       data in {}\n",
            data_dir.display()
        ));
    }
    let report = json!({
        "tracer": report.tracer,
        "blender": report.blender.as_ref().ok().map(ToString::to_string),
        "devices": report.devices.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "blender_missing": report.blender.as_ref().err(),
        "sandbox": report.files.to_string(),
        "node": node.to_string(),
        "payee": payee.to_string(),
        "data_dir": data_dir.display().to_string(),
    });
    Ok(format!("{report}\n"))
}
