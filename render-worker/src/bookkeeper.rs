//! Stores vouchers one after another on a thread of its own, because each waits for the disk, and signs the ends of escrows
//! once they are on disk too.

use crate::{
    config::WorkerError,
    escrows::{accounts::Accounts, cover::check_owed},
    limits::VOUCHERS_MAX,
};
use network::Replier;
use payment::{EarningsBook, EarningsError, EscrowKey, Wallet};
use protocol::message::{Release, Reply, SignedVoucher, bounded_text};
use std::{sync::Arc, thread};
use tokio::sync::mpsc;

/// The file of the book below the folder of its network.
pub const BOOK_FILE: &str = "earnings.redb";

enum Entry {
    /// Is it of the escrow that is the present one?
    Voucher(Box<SignedVoucher>, bool),
    /// The end of an escrow, and what was agreed to before.
    Release(Box<Release>, Option<u64>),
}

pub struct Bookkeeper {
    entries: mpsc::Sender<(Entry, Replier)>,
}

/// What it takes to keep accounts and to agree to the end of an escrow, on a chain.
pub type Agreeing = (Arc<Accounts>, Wallet);

impl Bookkeeper {
    pub fn start(book: Arc<EarningsBook>, agreeing: Option<Agreeing>) -> Result<Self, WorkerError> {
        let (entries, mut receiver) = mpsc::channel::<(Entry, Replier)>(VOUCHERS_MAX);
        thread::Builder::new()
            .name("bookkeeper".into())
            .spawn(move || {
                while let Some((entry, replier)) = receiver.blocking_recv() {
                    replier.send(match entry {
                        Entry::Voucher(signed, is_present) => {
                            enter(&book, agreeing.as_ref().filter(|_| is_present), *signed)
                        }
                        Entry::Release(release, before) => match &agreeing {
                            Some(agreeing) => agree(&book, agreeing, &release, before),
                            None => refused("this escrow ends by itself"),
                        },
                    });
                }
            })
            .map_err(WorkerError::io("cannot start a thread"))?;
        Ok(Self { entries })
    }

    /// Enters a voucher and replies once it is on disk. One of which nobody knows whether it is of the present escrow is kept
    /// and pays for nothing.
    pub fn enter(&self, signed: SignedVoucher, is_present: bool, replier: Replier) {
        let entry = Entry::Voucher(Box::new(signed), is_present);
        if let Err((_, replier)) = self.hand_over(entry, replier) {
            replier.send(refused("too many vouchers at once"));
        }
    }

    /// Agrees to the end of an escrow after all vouchers that came before, or replies why not. `before` is what was agreed to
    /// earlier; gives it back with the replier when too much waits.
    pub fn agree(
        &self,
        release: Release,
        before: Option<u64>,
        replier: Replier,
    ) -> Result<(), Replier> {
        let handed = self.hand_over(Entry::Release(Box::new(release), before), replier);
        handed.map_err(|(_, replier)| replier)
    }

    fn hand_over(&self, entry: Entry, replier: Replier) -> Result<(), (Entry, Replier)> {
        let sent = self.entries.try_send((entry, replier));
        sent.map_err(|error| match error {
            mpsc::error::TrySendError::Full(entry) | mpsc::error::TrySendError::Closed(entry) => {
                entry
            }
        })
    }
}

fn refused(reason: &str) -> Reply {
    Reply::Refused {
        reason: bounded_text(reason),
    }
}

fn enter(book: &EarningsBook, agreeing: Option<&Agreeing>, signed: SignedVoucher) -> Reply {
    match book.accept(signed) {
        Ok(increase) => {
            tracing::info!(%increase, "voucher accepted");
            if let Some((accounts, _)) = agreeing {
                accounts.promise(&signed.voucher, increase);
            }
            Reply::Done
        }
        // A message whose reply was lost comes again and says nothing new.
        Err(EarningsError::OldSequence { .. }) => Reply::Done,
        Err(error) => {
            tracing::warn!("voucher refused: {error}");
            refused(&error.to_string())
        }
    }
}

fn agree(
    book: &EarningsBook,
    (accounts, wallet): &Agreeing,
    release: &Release,
    before: Option<u64>,
) -> Reply {
    let account = accounts.get(release.requestor);
    let key = EscrowKey::from(release);
    let noted = check_owed(&account, release.epoch, release.cumulative)
        // Known on disk before the signature leaves: after it nothing more may be done in this epoch.
        .and_then(|()| {
            book.agree(&key, release.cumulative)
                .map_err(|e| e.to_string())
        });
    let signed = noted.and_then(|()| wallet.sign_release(release).map_err(|e| e.to_string()));
    match signed {
        Ok(signed) => {
            tracing::info!(requestor = %release.requestor, epoch = release.epoch, "agreed to the end of an escrow");
            Reply::Released(Box::new(signed))
        }
        Err(reason) => {
            accounts.disagree(release.requestor, before);
            refused(&reason)
        }
    }
}
