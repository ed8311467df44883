//! Looks at the escrows of requestors on a thread of its own: at once when asked, and about once a block at those that matter.

use super::{
    cover::Present,
    redeemer::{Redeemer, is_due},
};
use crate::{
    chain::Chain,
    config::WorkerError,
    limits::{FEE_FRESH, LOOK_EVERY, OTHERS_EVERY, OTHERS_LOOKED_AT_MAX, QUESTIONS_MAX},
};
use payment::{Earnings, EarningsBook, EscrowKey, Ledger, LedgerError, StoreError};
use protocol::{Address, Glm};
use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Instant, SystemTime},
};

/// What was seen of the escrow of one requestor.
pub struct Seen {
    /// The number of the question that it answers, if it was asked.
    pub question: Option<u64>,
    pub payer: Address,
    pub present: Result<Present, String>,
}

struct Ask {
    question: u64,
    payer: Address,
}

/// The thread; it ends when this is dropped or stopped.
pub struct Lookout {
    asks: mpsc::SyncSender<Ask>,
    watched: Arc<Mutex<BTreeSet<Address>>>,
    thread: JoinHandle<()>,
}

impl Lookout {
    /// `seen` hears what was seen.
    pub fn start(
        chain: &Chain,
        book: Arc<EarningsBook>,
        seen: tokio::sync::mpsc::Sender<Seen>,
    ) -> Result<Self, WorkerError> {
        let failed = || WorkerError::io("cannot start a thread");
        let (asks, asked) = mpsc::sync_channel(QUESTIONS_MAX);
        let watched = Arc::new(Mutex::default());
        let redeemer = Redeemer::start(Arc::clone(&chain.ledger), Arc::clone(&book));
        let watcher = Watcher {
            chain: chain.clone(),
            book,
            asked,
            seen,
            watched: Arc::clone(&watched),
            redeemer: redeemer.map_err(failed())?,
            fee: None,
            others: VecDeque::new(),
            others_begun: None,
            told: BTreeSet::new(),
            is_troubled: false,
        };
        let builder = thread::Builder::new().name("lookout".into());
        let thread = builder.spawn(move || watcher.run()).map_err(failed())?;
        Ok(Self {
            asks,
            watched,
            thread,
        })
    }

    /// Has an escrow looked at; false when too many wait.
    pub fn ask(&self, question: u64, payer: Address) -> bool {
        self.asks.try_send(Ask { question, payer }).is_ok()
    }

    /// The requestors whose escrows are looked at each time.
    pub fn watch(&self, payers: BTreeSet<Address>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = payers;
    }

    /// Waits for the end of what is under way; the chain's `stop` makes that soon.
    pub fn stop(self) {
        drop(self.asks);
        // It has said what failed.
        let _ = self.thread.join();
    }
}

struct Watcher {
    chain: Chain,
    book: Arc<EarningsBook>,
    asked: mpsc::Receiver<Ask>,
    seen: tokio::sync::mpsc::Sender<Seen>,
    watched: Arc<Mutex<BTreeSet<Address>>>,
    redeemer: Redeemer,
    /// What redeeming costs, and when that was asked.
    fee: Option<(Instant, Glm)>,
    /// The other requestors that are still to be looked at in this round, and when it began.
    others: VecDeque<Address>,
    others_begun: Option<Instant>,
    /// Escrows of which was told that what they give is not worth its fee.
    told: BTreeSet<EscrowKey>,
    /// Was trouble told, and nothing since?
    is_troubled: bool,
}

impl Watcher {
    fn run(mut self) {
        self.warn_without_coins();
        let mut next = Instant::now();
        loop {
            if Instant::now() >= next {
                if let Err(error) = self.look_around() {
                    self.trouble(&error);
                }
                next = Instant::now() + LOOK_EVERY;
            }
            let wait = next.saturating_duration_since(Instant::now());
            match self.asked.recv_timeout(wait) {
                Ok(ask) => self.answer(&ask),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        self.redeemer.stop();
    }

    fn warn_without_coins(&self) {
        let account = self.chain.ledger.account();
        // Trouble with the chain is told by the first look.
        if let Ok((_, Glm::ZERO)) = self.chain.ledger.settings().holdings(account) {
            tracing::warn!(
                "account {account} holds no {}: vouchers are kept and redeemed once it has some for fees",
                self.chain.ledger.settings().coin
            );
        }
    }

    fn answer(&mut self, ask: &Ask) {
        let present = self.present(ask.payer).map_err(|error| {
            self.trouble(&error);
            // What is wrong with the endpoints is nobody else's business.
            "this worker cannot reach the chain at present".to_owned()
        });
        self.tell(Some(ask.question), ask.payer, present);
    }

    fn tell(&self, question: Option<u64>, payer: Address, present: Result<Present, String>) {
        // Fails only when the worker has stopped.
        let _ = self.seen.blocking_send(Seen {
            question,
            payer,
            present,
        });
    }

    fn present(&self, payer: Address) -> Result<Present, LedgerError> {
        self.chain
            .ledger
            .present(payer, self.chain.ledger.account())
    }

    /// Looks at the escrows of all requestors with jobs, and in turn at those of some others that owe something; has redeemed
    /// what is due.
    fn look_around(&mut self) -> Result<(), LedgerError> {
        let mut rows = self.book.escrows()?;
        rows.retain(Earnings::is_open);
        let mut payers = self.watched();
        payers.extend(self.others(&rows, &payers));
        let mut looked_at = Vec::new();
        for payer in payers {
            while let Ok(ask) = self.asked.try_recv() {
                self.answer(&ask);
            }
            let present = self.present(payer)?;
            self.is_troubled = false;
            self.tell(None, payer, Ok(present));
            let theirs = rows.iter().filter(|row| row.requestor() == payer);
            note_all(&self.book, theirs, present)?;
            looked_at.push(payer);
        }
        let mut rows = self.book.escrows()?;
        rows.retain(|row| row.redeemable() > Glm::ZERO && looked_at.contains(&row.requestor()));
        self.redeem_due(&rows)
    }

    fn watched(&self) -> BTreeSet<Address> {
        let watched = self.watched.lock();
        watched.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next of those that have no job and owe something, each now and then: a thaw takes a day, and there may be thousands.
    fn others(&mut self, rows: &[Earnings], watched: &BTreeSet<Address>) -> Vec<Address> {
        let is_time = |at: Instant| at.elapsed() >= OTHERS_EVERY;
        if self.others.is_empty() && self.others_begun.is_none_or(is_time) {
            let owing: BTreeSet<Address> = rows.iter().map(Earnings::requestor).collect();
            self.others = owing.into_iter().collect();
            self.others_begun = Some(Instant::now());
        }
        self.others.retain(|payer| !watched.contains(payer));
        let next = self.others.len().min(OTHERS_LOOKED_AT_MAX);
        self.others.drain(..next).collect()
    }

    fn redeem_due(&mut self, rows: &[Earnings]) -> Result<(), LedgerError> {
        if rows.is_empty() {
            return Ok(());
        }
        let fee = self.fee()?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = now.map_or(0, |since| since.as_secs());
        let due = rows.iter().filter(|row| is_due(row, fee, now));
        let due: Vec<_> = due.map(|row| row.signed).collect();
        if !due.is_empty() {
            self.redeemer.order(due);
        }
        for row in rows {
            self.tell_of_loss(row, fee);
        }
        Ok(())
    }

    /// Says that a small sum goes back to its requestor unless the user pays more for it than it is.
    fn tell_of_loss(&mut self, row: &Earnings, fee: Glm) {
        let sum = row.redeemable();
        if row.progress.withdrawable_at.is_some() && sum <= fee && self.told.insert(row.key()) {
            tracing::warn!(
                requestor = %row.requestor(),
                "the escrow's end is announced, and {sum} GLM are not worth the fee of about {fee:.6} GLM: `redeem --all` takes them"
            );
        }
    }

    fn fee(&mut self) -> Result<Glm, LedgerError> {
        let fresh = self.fee.filter(|(at, _)| at.elapsed() < FEE_FRESH);
        if let Some((_, fee)) = fresh {
            return Ok(fee);
        }
        let fee = self.chain.ledger.redeem_fee()?;
        self.fee = Some((Instant::now(), fee));
        Ok(fee)
    }

    /// Told once: the chain is looked at again and again.
    fn trouble(&mut self, error: &LedgerError) {
        if !self.is_troubled {
            tracing::warn!("the escrows cannot be seen: {error}");
        }
        self.is_troubled = true;
    }
}

/// Notes what the present epoch of a requestor says of its vouchers.
pub fn note_all<'a>(
    book: &EarningsBook,
    rows: impl Iterator<Item = &'a Earnings>,
    present: Present,
) -> Result<(), StoreError> {
    let Some((epoch, escrow)) = present else {
        return Ok(());
    };
    for key in rows.map(Earnings::key) {
        match key.epoch.cmp(&epoch) {
            std::cmp::Ordering::Equal => book.note(&key, &escrow)?,
            std::cmp::Ordering::Less => book.note_over(&key)?,
            std::cmp::Ordering::Greater => {}
        }
    }
    Ok(())
}
