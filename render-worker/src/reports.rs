//! What `doctor` and `earnings` print.

use crate::{
    arguments::ReportArguments, bookkeeper::BOOK_FILE, config::WorkerError, main_command::Keys,
};
use engine::doctor;
use payment::EarningsBook;
use protocol::Glm;
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

/// The highest voucher of every escrow.
pub fn earnings(arguments: &ReportArguments, data_dir: &Path) -> Result<String, WorkerError> {
    let path = data_dir.join(BOOK_FILE);
    let rows = match path.exists() {
        true => EarningsBook::read(&path)?.escrows,
        false => Vec::new(),
    };
    let total: Glm = rows.iter().map(payment::Earnings::promised).sum();
    if arguments.json {
        let rows = rows.iter().map(|row| {
            let voucher = &row.signed.voucher;
            json!({
                "chain_id": voucher.chain_id,
                "requestor": voucher.requestor.to_string(),
                "worker": voucher.worker.to_string(),
                "epoch": voucher.epoch,
                "job": voucher.job.to_string(),
                "promised": row.promised().to_string(),
            })
        });
        let rows: Vec<_> = rows.collect();
        let summary = json!({ "vouchers": rows, "total": total.to_string() });
        return Ok(format!("{summary}\n"));
    }
    let mut text = format!(
        "{:<42}  {:>6}  {:>24}\n",
        "requestor", "escrow", "promised GLM"
    );
    for row in &rows {
        let (requestor, epoch) = (row.requestor().to_string(), row.signed.voucher.epoch);
        let promised = row.promised().to_string();
        text += &format!("{requestor:<42}  {epoch:>6}  {promised:>24}\n");
    }
    text += &format!("{:<42}  {:>6}  {:>24}\n", "total", "", total.to_string());
    Ok(text)
}
