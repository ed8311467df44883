//! Control messages between requestor and provider, and how they are encoded.
//!
//! A walk through one tile, `->` from requestor to provider:
//!
//! | message | says |
//! |---|---|
//! | `-> Offer` | here is a job; answered by `Quote` or `Declined` |
//! | `-> Prepare` | fetch the bundle and load it; answered by `Done`, later followed by |
//! | `<- Ready` | loaded; this is my determinism class and speed (or `Failed` without a task) |
//! | `-> Lease` | render these tasks; answered by `Done` |
//! | `<- Heartbeat` | still at it; answered by `Done` |
//! | `<- Commit` | signed commitment to a task's pixels; answered by `Done` |
//! | `-> Reveal` | open it; answered by `Revealed` with salt and root; the pixels follow as a blob with that hash |
//! | `-> Verdict` | accepted, or rejected with the reason; soon after an acceptance comes |
//! | `-> Voucher` | the promise of everything accepted so far |
//! | `-> Release` | the escrow shall end with what was promised; answered by `Released` |
//! | `-> Close` | the job is over for you |
//!
//! No request is held open while something renders: each is answered at once.

use crate::{
    ids::{Address, Blake3Hash, JobId, Signature, TaskId},
    job::{JobSpec, TaskSpec},
    limits::{
        DEVICE_BYTES_MAX, FILE_SEGMENTS_MAX, LEASE_TASKS_MAX, MESSAGE_BYTES_MAX, PROTOCOL_VERSION,
        SEGMENTED_FILES_MAX, TASKS_HELD_MAX, TEXT_BYTES_MAX,
    },
    money::Glm,
    segments::Segmented,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;

/// A request; each gets exactly one [`Reply`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Requestor: will you work for me?
    Offer {
        /// The job.
        job: Box<JobSpec>,
        /// Who pays: signs the vouchers.
        payer: Address,
        /// How.
        terms: Terms,
    },
    /// Requestor: fetch and load the offered job.
    Prepare {
        /// The job.
        job: JobId,
        /// Of which files of the bundle there are lists of segments, for a provider that has earlier versions of them.
        segmented: Vec<Segmented>,
    },
    /// Provider: the job is loaded.
    Ready {
        /// The job.
        job: JobId,
        /// Fingerprint of engine, build and calibration render: equal classes give equal bits.
        class: Blake3Hash,
        /// Hash of the calibration render alone: who knows the build can tell whether the class is of it.
        calibration: Blake3Hash,
        /// Time for one million samples of pixels in the calibration, in milliseconds.
        megasample_ms: u32,
    },
    /// Requestor: render these.
    Lease {
        /// The job.
        job: JobId,
        /// Tasks in the order wanted.
        tasks: Vec<TaskSpec>,
        /// Do they come before what is queued already?
        next: bool,
    },
    /// Provider: these leased tasks are queued or rendering.
    Heartbeat {
        /// The job.
        job: JobId,
        /// All tasks held.
        tasks: Vec<TaskId>,
    },
    /// Provider: the pixels of a task are done and will not change.
    Commit {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Salted commitment to the canonical bytes (verifier crate).
        commitment: Blake3Hash,
        /// By the provider's identity, over the commitment.
        signature: Signature,
        /// Time spent rendering, in milliseconds; informs the schedule, never the pay.
        render_ms: u32,
    },
    /// Provider: something went wrong, with one task or (without a task) with the whole job.
    Failed {
        /// The job.
        job: JobId,
        /// The task, if one is to blame.
        task: Option<TaskId>,
        /// For a person.
        reason: String,
    },
    /// Requestor: open your commitment.
    Reveal {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
    },
    /// Requestor: what became of a task. It may be deleted now.
    Verdict {
        /// The job.
        job: JobId,
        /// The task.
        task: TaskId,
        /// Why it was rejected; none when accepted.
        rejected: Option<String>,
    },
    /// Requestor: the promise of everything accepted so far, for many tasks at once when they are short.
    Voucher {
        /// The job.
        job: JobId,
        /// The promise.
        signed: SignedVoucher,
    },
    /// Requestor: will you let the present escrow end? Answered by `Released` when the provider has nothing more to expect.
    Release {
        /// The job.
        job: JobId,
        /// Which of the escrows between the two.
        epoch: u64,
        /// Everything that was promised in it.
        cumulative: Glm,
    },
    /// Requestor: drop these tasks; nobody will pay for them.
    Cancel {
        /// The job.
        job: JobId,
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Requestor: the job is over for this provider.
    Close {
        /// The job.
        job: JobId,
    },
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// Understood.
    Done,
    /// To `Offer`: yes, on these terms.
    Quote {
        /// Price of one million samples (pixels times samples a pixel).
        price_megasample: Glm,
        /// Where the money goes.
        payee: Address,
        /// For people: program, version, engine, threads.
        about: String,
        /// What renders: `cpu`, or the kind of a graphics card. Trust is earned for each by itself.
        device: String,
        /// Tasks of this job that it still holds from before the connection broke: leased, rendering or committed to.
        held: Vec<TaskId>,
        /// How long it keeps such tasks and their results for a requestor that is away, in seconds.
        hold_s: u32,
    },
    /// To `Offer`: no.
    Declined {
        /// For a person.
        reason: String,
    },
    /// To `Reveal`.
    Revealed {
        /// Salt of the commitment.
        salt: [u8; 32],
        /// blake3 of the canonical bytes: the address of the blob.
        root: Blake3Hash,
    },
    /// To `Release`.
    Released(Box<SignedRelease>),
    /// The request made no sense to this peer.
    Refused {
        /// For a person.
        reason: String,
    },
}

/// A promise to one provider: at least `cumulative` in all of this epoch. Fields and meaning are those of the
/// EIP-712 structure that the payment crate signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Voucher {
    /// Chain the promise is made on; 0 is the embedded ledger.
    pub chain_id: u64,
    /// The contract, or zeros for the embedded ledger.
    pub contract: Address,
    /// Who pays and signs.
    pub requestor: Address,
    /// Who is paid.
    pub worker: Address,
    /// Counts the escrows between the two.
    pub epoch: u64,
    /// The job that raised it last.
    pub job: JobId,
    /// Everything promised in this epoch, not an increment.
    pub cumulative: Glm,
    /// Grows by one with each voucher of the epoch.
    pub sequence: u64,
    /// Hash over the accepted tiles that it pays for.
    pub receipts_root: Blake3Hash,
}

/// A voucher with its secp256k1 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedVoucher {
    /// The promise.
    pub voucher: Voucher,
    /// First half of the signature.
    pub r: [u8; 32],
    /// Second half, in the lower half of the curve's order.
    pub s: [u8; 32],
    /// Recovery id, 27 or 28.
    pub v: u8,
}

/// A worker's agreement that an epoch ends now and that `cumulative` is all that it is owed in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Chain of the escrow.
    pub chain_id: u64,
    /// Its contract.
    pub contract: Address,
    /// Who pays.
    pub requestor: Address,
    /// Who is paid and signs.
    pub worker: Address,
    /// Which of the escrows between the two.
    pub epoch: u64,
    /// Everything owed in this epoch.
    pub cumulative: Glm,
}

/// A release with its secp256k1 signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedRelease {
    /// The agreement.
    pub release: Release,
    /// First half of the signature.
    pub r: [u8; 32],
    /// Second half, in the lower half of the curve's order.
    pub s: [u8; 32],
    /// Recovery id, 27 or 28.
    pub v: u8,
}

/// How a job is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Terms {
    /// Not at all: among friends.
    Free,
    /// By vouchers on an escrow.
    Escrow {
        /// The chain; 0 is the embedded ledger.
        chain_id: u64,
        /// The escrow contract there; zeros for the embedded ledger.
        contract: Address,
    },
}

impl Terms {
    /// The embedded ledger.
    pub const LOCAL: Self = Self::Escrow {
        chain_id: 0,
        contract: Address([0; 20]),
    };
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Free => f.write_str("nothing"),
            Self::Escrow { chain_id: 0, .. } => {
                f.write_str("in test GLM of the requestor's own ledger")
            }
            Self::Escrow { chain_id, contract } => {
                write!(f, "on chain {chain_id} by the escrow {contract}")
            }
        }
    }
}

/// Why bytes from a peer are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Over [`MESSAGE_BYTES_MAX`].
    #[error("a message of {0} bytes is over the limit of {MESSAGE_BYTES_MAX}")]
    TooLong(u64),
    /// Of another version of the protocol.
    #[error("protocol version {0}, this program speaks {PROTOCOL_VERSION}")]
    Version(u16),
    /// Not a message at all.
    #[error("not a message: {0}")]
    Malformed(String),
    /// A list or text in it is over its limit.
    #[error("a {0} in the message is over its limit")]
    Limit(&'static str),
}

/// Bytes of a message: version (u16, little endian), then postcard.
///
/// # Errors
/// When it would be over [`MESSAGE_BYTES_MAX`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, MessageError> {
    let mut bytes = PROTOCOL_VERSION.to_le_bytes().to_vec();
    bytes =
        postcard::to_extend(message, bytes).map_err(|e| MessageError::Malformed(e.to_string()))?;
    match bytes.len() as u64 {
        length if length > MESSAGE_BYTES_MAX => Err(MessageError::TooLong(length)),
        _ => Ok(bytes),
    }
}

/// A message that has limits of its own beyond its length.
pub trait Bounded {
    /// # Errors
    /// Names the first list or text that is over its limit.
    fn check(&self) -> Result<(), MessageError>;
}

/// Reads what [`encode`] wrote, checking version and limits; trailing bytes are refused.
///
/// # Errors
/// See [`MessageError`]; never panics, never allocates more than a small multiple of `bytes`.
pub fn decode<T: DeserializeOwned + Bounded>(bytes: &[u8]) -> Result<T, MessageError> {
    if bytes.len() as u64 > MESSAGE_BYTES_MAX {
        return Err(MessageError::TooLong(bytes.len() as u64));
    }
    let (version, body) = bytes
        .split_first_chunk::<2>()
        .ok_or_else(|| MessageError::Malformed("shorter than its version".into()))?;
    let version = u16::from_le_bytes(*version);
    if version != PROTOCOL_VERSION {
        return Err(MessageError::Version(version));
    }
    let (message, rest): (T, _) =
        postcard::take_from_bytes(body).map_err(|e| MessageError::Malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(MessageError::Malformed(format!(
            "{} bytes too many",
            rest.len()
        )));
    }
    message.check()?;
    Ok(message)
}

/// Shortens a text to what a message may carry, at a character's edge.
pub fn bounded_text(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// A peer's text for a person's terminal: what would steer the terminal or turn the line around is replaced.
pub fn printable(text: &str) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars()
        .map(|c| {
            if steers(c) {
                char::REPLACEMENT_CHARACTER
            } else {
                c
            }
        })
        .collect()
}

fn check_text(text: &str) -> Result<(), MessageError> {
    if text.len() > TEXT_BYTES_MAX {
        Err(MessageError::Limit("text"))
    } else {
        Ok(())
    }
}

fn check_tasks(count: usize) -> Result<(), MessageError> {
    if count > LEASE_TASKS_MAX {
        Err(MessageError::Limit("list of tasks"))
    } else {
        Ok(())
    }
}

fn check_segmented(files: &[Segmented]) -> Result<(), MessageError> {
    let is_long = |file: &Segmented| file.segments > FILE_SEGMENTS_MAX;
    if files.len() > SEGMENTED_FILES_MAX || files.iter().any(is_long) {
        Err(MessageError::Limit("list of segments"))
    } else {
        Ok(())
    }
}

impl Bounded for Request {
    fn check(&self) -> Result<(), MessageError> {
        match self {
            Request::Prepare { segmented, .. } => check_segmented(segmented),
            Request::Lease { tasks, .. } => check_tasks(tasks.len()),
            Request::Heartbeat { tasks, .. } | Request::Cancel { tasks, .. } => {
                check_tasks(tasks.len())
            }
            Request::Failed { reason, .. } => check_text(reason),
            Request::Verdict {
                rejected: Some(reason),
                ..
            } => check_text(reason),
            _ => Ok(()),
        }
    }
}

impl Bounded for Reply {
    fn check(&self) -> Result<(), MessageError> {
        match self {
            Reply::Quote { held, .. } if held.len() > TASKS_HELD_MAX => {
                Err(MessageError::Limit("list of tasks"))
            }
            Reply::Quote { device, .. } if device.len() > DEVICE_BYTES_MAX => {
                Err(MessageError::Limit("name of a device"))
            }
            Reply::Quote { about: text, .. }
            | Reply::Declined { reason: text }
            | Reply::Refused { reason: text } => check_text(text),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_wire() {
        let request = Request::Failed {
            job: JobId([3; 16]),
            task: Some(TaskId(7)),
            reason: "no memory".into(),
        };
        assert_eq!(decode::<Request>(&encode(&request).unwrap()), Ok(request));
        let reply = Reply::Revealed {
            salt: [4; 32],
            root: Blake3Hash([5; 32]),
        };
        assert_eq!(decode::<Reply>(&encode(&reply).unwrap()), Ok(reply));
    }

    #[test]
    fn other_versions_long_texts_and_trailing_bytes_are_refused() {
        let mut bytes = encode(&Reply::Done).unwrap();
        bytes.push(0);
        assert!(matches!(
            decode::<Reply>(&bytes),
            Err(MessageError::Malformed(_))
        ));
        assert_eq!(decode::<Reply>(&[9, 0, 0]), Err(MessageError::Version(9)));
        let long = Reply::Declined {
            reason: "x".repeat(TEXT_BYTES_MAX + 1),
        };
        assert_eq!(
            decode::<Reply>(&encode(&long).unwrap()),
            Err(MessageError::Limit("text"))
        );
        assert_eq!(
            bounded_text(&"ä".repeat(TEXT_BYTES_MAX)).len(),
            TEXT_BYTES_MAX
        );
    }

    #[test]
    fn the_name_of_a_device_has_its_limit() {
        let quote = |device: String| Reply::Quote {
            price_megasample: Glm::ZERO,
            payee: Address([1; 20]),
            about: "render-worker".into(),
            device,
            held: Vec::new(),
            hold_s: 0,
        };
        let longest = quote("x".repeat(DEVICE_BYTES_MAX));
        assert_eq!(decode::<Reply>(&encode(&longest).unwrap()), Ok(longest));
        let long = quote("x".repeat(DEVICE_BYTES_MAX + 1));
        assert_eq!(
            decode::<Reply>(&encode(&long).unwrap()),
            Err(MessageError::Limit("name of a device"))
        );
    }

    #[test]
    fn lists_of_segments_have_their_limits() {
        let file = |segments| Segmented {
            file: Blake3Hash([1; 32]),
            list: Blake3Hash([2; 32]),
            segments,
        };
        let prepare = |segmented| Request::Prepare {
            job: JobId([3; 16]),
            segmented,
        };
        let most = prepare(vec![file(FILE_SEGMENTS_MAX); SEGMENTED_FILES_MAX]);
        assert_eq!(decode::<Request>(&encode(&most).unwrap()), Ok(most));
        for absurd in [
            vec![file(1); SEGMENTED_FILES_MAX + 1],
            vec![file(FILE_SEGMENTS_MAX + 1)],
        ] {
            assert_eq!(
                decode::<Request>(&encode(&prepare(absurd)).unwrap()),
                Err(MessageError::Limit("list of segments"))
            );
        }
    }

    #[test]
    fn a_peers_text_cannot_steer_a_terminal() {
        assert_eq!(
            printable("\u{1b}[2Jno\nmemory\u{202e}"),
            "\u{fffd}[2Jno\u{fffd}memory\u{fffd}"
        );
        assert_eq!(
            printable("zu wenig Speicher für 图"),
            "zu wenig Speicher für 图"
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode::<Request>(&bytes);
            let mut versioned = PROTOCOL_VERSION.to_le_bytes().to_vec();
            versioned.extend(&bytes);
            let _ = decode::<Request>(&versioned);
            let _ = decode::<Reply>(&versioned);
        }
    }
}
