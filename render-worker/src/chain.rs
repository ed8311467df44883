//! A worker's account on a chain: its wallet, its folder, and the ledger.

use crate::{
    config::WorkerError,
    money::{NetworkArguments, OUTBOX_FILE},
};
use payment::{
    Wallet,
    chain::{ChainError, ChainLedger, ChainSettings, DevChain, Network},
};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

/// A worker's account on a chain.
#[derive(Debug, Clone)]
pub struct Chain {
    /// Looks at escrows and redeems.
    pub ledger: Arc<ChainLedger>,
    /// Agrees to the end of escrows.
    pub wallet: Wallet,
    /// Where the book of earnings lies.
    pub folder: PathBuf,
    /// Ends the waiting for transactions.
    pub stop: Arc<AtomicBool>,
}

impl Chain {
    /// Opens the account below `data_dir`; none where there is no chain. Blocks.
    ///
    /// # Errors
    /// When there is no wallet, the chain does not answer or has no escrow contract, or another process uses the account.
    pub fn open(
        arguments: &NetworkArguments,
        data_dir: &Path,
    ) -> Result<Option<Self>, WorkerError> {
        let Some(settings) = arguments.settings()? else {
            return Ok(None);
        };
        let wallet = arguments.wallet(data_dir)?;
        if arguments.network == Network::Dev {
            DevChain::give_coins(&settings, wallet.address())?;
        }
        let folder = arguments.folder(data_dir, Some(&settings))?;
        fs::create_dir_all(&folder)
            .map_err(WorkerError::io(format!("cannot make {}", folder.display())))?;
        let stop = Arc::default();
        let ledger = open_ledger(arguments.network, settings, &wallet, &folder, &stop)?;
        Ok(Some(Self {
            ledger: Arc::new(ledger),
            wallet,
            folder,
            stop,
        }))
    }
}

fn open_ledger(
    network: Network,
    settings: ChainSettings,
    wallet: &Wallet,
    folder: &Path,
    stop: &Arc<AtomicBool>,
) -> Result<ChainLedger, ChainError> {
    let open = |settings| {
        let outbox = folder.join(OUTBOX_FILE);
        ChainLedger::open(settings, wallet.clone(), outbox, Arc::clone(stop))
    };
    match open(settings.clone()) {
        // On a chain of one's own whoever comes first puts the contracts there.
        Err(ChainError::NoContract { .. }) if network == Network::Dev => {
            DevChain::prepare(&settings)?;
            open(settings)
        }
        other => other,
    }
}
