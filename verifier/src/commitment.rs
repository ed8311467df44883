//! Commitments: a worker's signed, salted promise that a task's pixels are done and will not change.

use ed25519_dalek::{Signature as DalekSignature, VerifyingKey};
use protocol::{Blake3Hash, JobId, NodeId, TaskId, ids::Signature};

const COMMITMENT_CONTEXT: &str = "open render farm 2026 tile commitment v1";
const STATEMENT_CONTEXT: &[u8] = b"open render farm 2026 commitment statement v1";

/// The commitment to a task's canonical bytes.
///
/// The worker's key stops copying another's commitment, the salt stops guessing the pixels of black or sky tiles from
/// it, and `spec_hash` ([`protocol::TaskSpec::hash`]) binds job, frame, rectangles, passes and all settings, so that a
/// shorter or differently shaped image can never open it. All parts have fixed lengths: no two inputs share bytes.
pub fn commitment(
    worker: &NodeId,
    spec_hash: &Blake3Hash,
    salt: &[u8; 32],
    root: &Blake3Hash,
) -> Blake3Hash {
    let mut hasher = blake3::Hasher::new_derive_key(COMMITMENT_CONTEXT);
    hasher.update(&worker.0);
    hasher.update(&spec_hash.0);
    hasher.update(salt);
    hasher.update(&root.0);
    hasher.finalize().into()
}

/// The bytes that a worker signs when it commits: a domain tag, job, task number and commitment.
pub fn commitment_statement(job: &JobId, task: TaskId, commitment: &Blake3Hash) -> Vec<u8> {
    let mut statement = STATEMENT_CONTEXT.to_vec();
    statement.extend_from_slice(&job.0);
    statement.extend_from_slice(&task.0.to_le_bytes());
    statement.extend_from_slice(&commitment.0);
    statement
}

/// Did this node sign this statement? Strict ed25519: weak keys and malleable signatures are refused, so that a
/// statement has one signature whoever checks it.
pub fn verify_signature(node: &NodeId, statement: &[u8], signature: &Signature) -> bool {
    VerifyingKey::from_bytes(&node.0).is_ok_and(|key| {
        key.verify_strict(
            statement,
            &DalekSignature::from_bytes(&signature.to_bytes()),
        )
        .is_ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ed25519_dalek::{Signer, SigningKey};

    fn hash(byte: u8) -> Blake3Hash {
        Blake3Hash([byte; 32])
    }

    #[test]
    fn a_commitment_binds_worker_specification_salt_and_pixels() {
        let of = |worker: u8, spec: u8, salt: u8, root: u8| {
            commitment(&NodeId([worker; 32]), &hash(spec), &[salt; 32], &hash(root))
        };
        let whole = of(1, 2, 3, 4);
        assert_eq!(whole, of(1, 2, 3, 4));
        for other in [
            of(9, 2, 3, 4),
            of(1, 9, 3, 4),
            of(1, 2, 9, 4),
            of(1, 2, 3, 9),
            of(2, 1, 3, 4),
        ] {
            assert_ne!(whole, other);
        }
    }

    #[test]
    fn only_the_signer_of_exactly_this_statement_passes() {
        let key = SigningKey::from_bytes(&[7; 32]);
        let node = NodeId(key.verifying_key().to_bytes());
        let statement = commitment_statement(&JobId([1; 16]), TaskId(5), &hash(2));
        let signature = Signature::from_bytes(&key.sign(&statement).to_bytes());
        assert!(verify_signature(&node, &statement, &signature));

        for other in [
            commitment_statement(&JobId([2; 16]), TaskId(5), &hash(2)),
            commitment_statement(&JobId([1; 16]), TaskId(6), &hash(2)),
            commitment_statement(&JobId([1; 16]), TaskId(5), &hash(3)),
        ] {
            assert!(!verify_signature(&node, &other, &signature));
        }
        let stranger = NodeId(SigningKey::from_bytes(&[8; 32]).verifying_key().to_bytes());
        assert!(!verify_signature(&stranger, &statement, &signature));
        assert!(!verify_signature(
            &NodeId([255; 32]),
            &statement,
            &signature
        ));
    }

    #[test]
    fn a_key_of_small_order_signs_nothing() {
        // The identity point: without the strict check, R = identity and s = 0 pass for every statement.
        let mut identity = [0; 32];
        identity[0] = 1;
        let forged = Signature {
            r: identity,
            s: [0; 32],
        };
        assert!(!verify_signature(&NodeId(identity), b"anything", &forged));
    }
}
