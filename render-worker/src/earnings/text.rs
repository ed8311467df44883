//! Earnings as a table, as JSON and as comma-separated values.

use super::{NetworkEarnings, Totals};
use payment::{Earnings, OTHER_JOBS};
use protocol::{Glm, JobId};
use serde_json::json;
use std::time::{Duration, SystemTime};

/// Decimals of amounts in the table, which is for reading; the other forms have all.
const DECIMALS: usize = 9;

/// Where an escrow stands, and from when on the requestor may take back the rest, if that is announced.
fn state(row: &Earnings) -> (&'static str, Option<String>) {
    let progress = &row.progress;
    let until = progress.withdrawable_at.map(time);
    let state = match (progress.seen, until.is_some(), progress.released) {
        _ if progress.is_closed => "closed",
        (_, true, _) => "thawing",
        (_, _, Some(_)) => "ending",
        (None, ..) => "not seen",
        _ => "open",
    };
    (state, until)
}

fn time(unix_s: u64) -> String {
    // Times that no calendar has are those of a chain that is wrong.
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(unix_s.min(u32::MAX.into())));
    at.map_or_else(String::new, |at| {
        humantime::format_rfc3339_seconds(at).to_string()
    })
}

fn job_name(job: JobId) -> String {
    match job == OTHER_JOBS {
        true => "others".into(),
        false => job.to_string(),
    }
}

pub fn table(networks: &[NetworkEarnings]) -> String {
    let amount = |amount: Glm| format!("{amount:.DECIMALS$}");
    let mut text = format!(
        "{:<42}  {:<20}  {:>6}  {:>20}  {:>20}  {:>20}  state\n",
        "requestor", "network", "escrow", "promised GLM", "redeemed GLM", "redeemable GLM"
    );
    let line = |names: (&str, &str, &str), totals: Totals, state: &str| {
        let (first, second, third) = names;
        let [promised, redeemed, redeemable] =
            [totals.promised, totals.redeemed, totals.redeemable].map(amount);
        let line = format!(
            "{first:<42}  {second:<20}  {third:>6}  {promised:>20}  {redeemed:>20}  {redeemable:>20}  {state}"
        );
        format!("{}\n", line.trim_end())
    };
    for (network, row) in rows(networks) {
        let (requestor, epoch) = (row.requestor().to_string(), row.key().epoch.to_string());
        let state = match state(row) {
            (state, Some(until)) if state == "thawing" => format!("{state} until {until}"),
            (state, _) => state.to_owned(),
        };
        let totals = Totals::of([row].into_iter());
        text += &line((&requestor, network, &epoch), totals, &state);
    }
    let totals = Totals::of(rows(networks).map(|(_, row)| row));
    text += &line(("total", "", ""), totals, "");
    if networks.iter().any(|network| !network.jobs.is_empty()) {
        text += &format!(
            "\n{:<42}  {:<20}  {:<32}  {:>20}\n",
            "requestor", "network", "job", "promised GLM"
        );
    }
    for network in networks {
        for row in &network.jobs {
            let (requestor, job) = (row.requestor.to_string(), job_name(row.job));
            let (network, promised) = (&network.network, amount(row.promised));
            text += &format!("{requestor:<42}  {network:<20}  {job:<32}  {promised:>20}\n");
        }
    }
    text
}

fn rows(networks: &[NetworkEarnings]) -> impl Iterator<Item = (&str, &Earnings)> {
    networks.iter().flat_map(|network| {
        let name = network.network.as_str();
        network.escrows.iter().map(move |row| (name, row))
    })
}

pub fn json(networks: &[NetworkEarnings]) -> String {
    let escrows = rows(networks).map(|(network, row)| {
        let (voucher, (state, until)) = (&row.signed.voucher, state(row));
        json!({
            "network": network,
            "chain_id": voucher.chain_id,
            "contract": voucher.contract.to_string(),
            "requestor": voucher.requestor.to_string(),
            "worker": voucher.worker.to_string(),
            "epoch": voucher.epoch,
            "job": voucher.job.to_string(),
            "promised": row.promised().to_string(),
            "redeemed": row.progress.claimed.to_string(),
            "redeemable": row.redeemable().to_string(),
            "state": state,
            "withdrawable_at": until,
        })
    });
    let jobs = networks.iter().flat_map(|network| {
        network.jobs.iter().map(|row| {
            json!({
                "network": network.network,
                "chain_id": row.chain_id,
                "contract": row.contract.to_string(),
                "requestor": row.requestor.to_string(),
                "job": job_name(row.job),
                "promised": row.promised.to_string(),
            })
        })
    });
    let totals = Totals::of(rows(networks).map(|(_, row)| row));
    let report = json!({
        "vouchers": escrows.collect::<Vec<_>>(),
        "jobs": jobs.collect::<Vec<_>>(),
        "total": totals.promised.to_string(),
        "redeemed": totals.redeemed.to_string(),
        "redeemable": totals.redeemable.to_string(),
    });
    format!("{report}\n")
}

/// One kind of row for escrows and one for jobs, each with what it has.
pub fn csv(networks: &[NetworkEarnings]) -> String {
    let mut text = String::from(
        "kind,network,chain_id,contract,requestor,worker,escrow,job,promised,redeemed,redeemable,state,withdrawable_at\n",
    );
    for (network, row) in rows(networks) {
        let (voucher, (state, until)) = (&row.signed.voucher, state(row));
        text += &format!(
            "escrow,{network},{},{},{},{},{},,{},{},{},{state},{}\n",
            voucher.chain_id,
            voucher.contract,
            voucher.requestor,
            voucher.worker,
            voucher.epoch,
            row.promised(),
            row.progress.claimed,
            row.redeemable(),
            until.unwrap_or_default(),
        );
    }
    for network in networks {
        for row in &network.jobs {
            text += &format!(
                "job,{},{},{},{},,,{},{},,,,\n",
                network.network,
                row.chain_id,
                row.contract,
                row.requestor,
                job_name(row.job),
                row.promised,
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use payment::{JobEarnings, Progress, Wallet};
    use protocol::{Address, Blake3Hash, message::Voucher};

    fn networks() -> Vec<NetworkEarnings> {
        let requestor = Wallet::from_secret(&[1; 32]).unwrap();
        let row = |epoch, progress| {
            let voucher = Voucher {
                chain_id: 137,
                contract: Address([4; 20]),
                requestor: requestor.address(),
                worker: Address([2; 20]),
                epoch,
                job: JobId([3; 16]),
                cumulative: Glm::from_wei(3_000_000_000_000_000_001),
                sequence: 1,
                receipts_root: Blake3Hash([0; 32]),
            };
            let signed = requestor.sign_voucher(&voucher).unwrap();
            Earnings { signed, progress }
        };
        let seen = Progress {
            deposit: Glm::from_glm(3),
            claimed: Glm::from_glm(1),
            seen: Some(1),
            ..Progress::default()
        };
        let closed = Progress {
            is_closed: true,
            ..seen
        };
        let thawing = Progress {
            withdrawable_at: Some(1_800_000_000),
            ..seen
        };
        let jobs = vec![JobEarnings {
            chain_id: 137,
            contract: Address([4; 20]),
            requestor: requestor.address(),
            job: OTHER_JOBS,
            promised: Glm::from_wei(1),
        }];
        vec![NetworkEarnings {
            network: "polygon".into(),
            escrows: vec![row(0, closed), row(1, thawing)],
            jobs,
        }]
    }

    #[test]
    fn each_form_has_every_row_and_the_same_sums() {
        let networks = networks();
        let csv = csv(&networks);
        let rows: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        assert!(rows.iter().all(|row| row.len() == rows[0].len()), "{csv}");
        assert_eq!(rows.len(), 4);
        assert_eq!(
            rows[1][8..],
            ["3.000000000000000001", "1", "0", "closed", ""]
        );
        assert_eq!(
            rows[2][8..],
            [
                "3.000000000000000001",
                "1",
                "2",
                "thawing",
                "2027-01-15T08:00:00Z"
            ]
        );
        assert_eq!(rows[3][7..9], ["others", "0.000000000000000001"]);
        let json: serde_json::Value = serde_json::from_str(&json(&networks)).unwrap();
        assert_eq!(json["total"], "6.000000000000000002");
        assert_eq!(
            (&json["redeemed"], &json["redeemable"]),
            (&"2".into(), &"2".into())
        );
        assert_eq!(json["vouchers"][1]["state"], "thawing");
        assert_eq!(json["jobs"].as_array().unwrap().len(), 1);
        let table = table(&networks);
        assert!(
            table.contains("thawing until 2027-01-15T08:00:00Z"),
            "{table}"
        );
        let total = table.lines().find(|line| line.starts_with("total"));
        let total: Vec<&str> = total.unwrap().split_whitespace().collect();
        assert_eq!(total[1..], ["6.000000000", "2.000000000", "2.000000000"]);
    }
}
