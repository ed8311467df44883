//! Faults as requestors tell them each other: one JSON object a line. Without evidence that was checked here a line is no
//! more than a claim: it costs a provider what it has earned, never its work.

use super::row::{EVIDENCE_BYTES_MAX, Fault, Proof, Provider};
use protocol::{JobId, NodeId};
use serde::{Deserialize, Serialize};
use std::{
    io::{BufRead, Read},
    path::{Path, PathBuf},
};
use verifier::FaultKind;

/// Most lines of a file.
const LINES_MAX: usize = 100_000;
/// Longest line in bytes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    node: String,
    kind: FaultKind,
    at: u64,
    job: String,
    evidence: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bundle: Option<PathBuf>,
}

/// What somebody says of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Of whom.
    pub node: NodeId,
    /// What it was.
    pub kind: FaultKind,
    /// When, in seconds since 1970, by the clock of who says it.
    pub at: u64,
    /// In which job.
    pub job: JobId,
    /// What it did, in words.
    pub evidence: String,
    /// The file with which anybody can check it, if there is one.
    pub bundle: Option<PathBuf>,
}

impl Claim {
    /// As a fault that is known from now on, with evidence that was found to be right or without.
    pub fn into_fault(self, is_verified: bool, now: u64) -> Fault {
        Fault {
            at: self.at.min(now),
            learned: now,
            kind: self.kind,
            proof: match is_verified {
                true => Proof::Verified,
                false => Proof::Claimed,
            },
            job: self.job.to_string(),
            evidence: self.evidence,
            bundle: self.bundle,
        }
    }
}

/// Reads the lines of a file. Evidence files that they name lie relative to its folder.
///
/// # Errors
/// Names the first line that is none.
pub fn read(mut lines: impl BufRead, folder: &Path) -> Result<Vec<Claim>, String> {
    let mut claims = Vec::new();
    for number in 1.. {
        let at_line = |why: String| format!("line {number}: {why}");
        let mut line = Vec::new();
        let mut piece = (&mut lines).take(LINE_BYTES_MAX as u64 + 1);
        let length = piece.read_until(b'\n', &mut line);
        match length.map_err(|error| at_line(error.to_string()))? {
            0 => break,
            length if length > LINE_BYTES_MAX => {
                return Err(at_line(format!("longer than {LINE_BYTES_MAX} bytes")));
            }
            _ if line.trim_ascii().is_empty() => continue,
            _ if claims.len() == LINES_MAX => {
                return Err(at_line(format!("more than {LINES_MAX} faults")));
            }
            _ => claims.push(parse(&line, folder).map_err(at_line)?),
        }
    }
    Ok(claims)
}

fn parse(line: &[u8], folder: &Path) -> Result<Claim, String> {
    let line: Line = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    if line.evidence.len() > EVIDENCE_BYTES_MAX {
        return Err(format!("evidence of more than {EVIDENCE_BYTES_MAX} bytes"));
    }
    Ok(Claim {
        node: line.node.parse().map_err(|e| format!("node: {e}"))?,
        kind: line.kind,
        at: line.at,
        job: line.job.parse().map_err(|e| format!("job: {e}"))?,
        evidence: line.evidence,
        bundle: line.bundle.map(|bundle| folder.join(bundle)),
    })
}

/// What this user found out of a provider, for others: what is a claim here is not passed on.
pub fn lines(node: NodeId, provider: &Provider) -> impl Iterator<Item = serde_json::Value> {
    let proven = |fault: &&Fault| fault.proof > Proof::Claimed;
    provider.faults.iter().filter(proven).map(move |fault| {
        serde_json::json!(Line {
            node: node.to_string(),
            kind: fault.kind,
            at: fault.at,
            job: fault.job.clone(),
            evidence: fault.evidence.clone(),
            bundle: fault.bundle.clone(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_and_rumours_are_not_passed_on() {
        let claim = Claim {
            node: NodeId([1; 32]),
            kind: FaultKind::Fraud,
            at: 9,
            job: JobId([2; 16]),
            evidence: "frame 1: black".into(),
            bundle: Some("/kept/1.evidence".into()),
        };
        let mut provider = Provider::new(0);
        assert!(provider.blame(claim.clone().into_fault(false, 20)));
        assert_eq!(lines(claim.node, &provider).count(), 0);
        let verified = claim.clone().into_fault(true, 5);
        assert_eq!((verified.at, verified.learned), (5, 5));
        let mut provider = Provider::new(0);
        assert!(provider.blame(claim.clone().into_fault(true, 20)));
        let line = lines(claim.node, &provider).next().unwrap().to_string();
        let told = format!("\n{line}\n\n{line}");
        let read = read(told.as_bytes(), Path::new("/elsewhere"));
        assert_eq!(read, Ok(vec![claim.clone(), claim]));
    }

    #[test]
    fn lines_that_are_none_are_named() {
        let (node, job) = (NodeId([1; 32]).to_string(), JobId([2; 16]).to_string());
        let line = |node: &str, kind: &str, job: &str, evidence: &str| {
            serde_json::json!({"node": node, "kind": kind, "at": 1, "job": job, "evidence": evidence}).to_string()
        };
        let right = line(&node, "flaky", &job, "one cell");
        let read = |text: &str| super::read(text.as_bytes(), Path::new(""));
        assert_eq!(read(&right).map(|claims| claims.len()), Ok(1));
        for wrong in [
            "{".to_owned(),
            "\u{0}".to_owned(),
            line("abc", "flaky", &job, ""),
            line(&node, "rude", &job, ""),
            line(&node, "fraud", "../..", ""),
            line(&node, "fraud", &job, &"x".repeat(EVIDENCE_BYTES_MAX + 1)),
            line(&node, "fraud", &job, &"x".repeat(LINE_BYTES_MAX)),
        ] {
            let error = read(&format!("{right}\n{wrong}\n")).unwrap_err();
            assert!(error.starts_with("line 2: "), "{error}");
        }
        let many = format!("{right}\n").repeat(LINES_MAX + 1);
        assert!(read(&many).unwrap_err().contains("more than"));
    }
}
