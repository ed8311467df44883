//! Stores vouchers one after another on a thread of its own, because each waits for the disk.

use crate::{config::WorkerError, limits::VOUCHERS_MAX};
use network::Replier;
use payment::{EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT, EarningsBook, EarningsError};
use protocol::{
    Address,
    message::{Reply, SignedVoucher, bounded_text},
};
use std::{path::Path, thread};
use tokio::sync::mpsc;

/// The file of the book below the data folder.
pub const BOOK_FILE: &str = "earnings.redb";

pub struct Bookkeeper {
    vouchers: mpsc::Sender<(SignedVoucher, Replier)>,
}

impl Bookkeeper {
    /// Opens the book. Blocking.
    pub fn start(data_dir: &Path, worker: Address) -> Result<Self, WorkerError> {
        let path = data_dir.join(BOOK_FILE);
        let book = EarningsBook::open(path, worker, EMBEDDED_CHAIN_ID, EMBEDDED_CONTRACT)?;
        let (vouchers, mut receiver) = mpsc::channel::<(SignedVoucher, Replier)>(VOUCHERS_MAX);
        thread::Builder::new()
            .name("bookkeeper".into())
            .spawn(move || {
                while let Some((voucher, replier)) = receiver.blocking_recv() {
                    replier.send(enter(&book, voucher));
                }
            })
            .map_err(WorkerError::io("cannot start a thread"))?;
        Ok(Self { vouchers })
    }

    /// Enters a voucher and replies once it is on disk.
    pub fn enter(&self, voucher: SignedVoucher, replier: Replier) {
        if let Err(error) = self.vouchers.try_send((voucher, replier)) {
            let (mpsc::error::TrySendError::Full((_, replier))
            | mpsc::error::TrySendError::Closed((_, replier))) = error;
            replier.send(Reply::Refused {
                reason: "too many vouchers at once".into(),
            });
        }
    }
}

fn enter(book: &EarningsBook, voucher: SignedVoucher) -> Reply {
    match book.accept(voucher) {
        Ok(increase) => {
            tracing::info!(%increase, "voucher accepted");
            Reply::Done
        }
        // A message whose reply was lost comes again and says nothing new.
        Err(EarningsError::OldSequence { .. }) => Reply::Done,
        Err(error) => {
            tracing::warn!("voucher refused: {error}");
            Reply::Refused {
                reason: bounded_text(&error.to_string()),
            }
        }
    }
}
