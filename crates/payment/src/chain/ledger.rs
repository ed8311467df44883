//! The ledger on the escrow contract of a chain.

use super::{
    contract::{self, Channel, DEPLOYER, Deployment},
    error::ChainError,
    outbox::{Outbox, State, Transaction},
    rpc::{Rpc, RpcError, nonsense},
    sender::{Order, Sender},
    settings::ChainSettings,
};
use crate::{
    Escrow, EscrowKey, Ledger, LedgerError, Redeemed, Release, StoreError, Totals, Wallet,
    voucher::{verify_release_on, verify_voucher_on},
};
use protocol::{
    Address, Glm,
    message::{SignedRelease, SignedVoucher},
};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
};

/// Largest amount of the contract, in wei: 96 bits.
const AMOUNT_MAX: u128 = (1 << 96) - 1;
/// Most channels in one transaction: a batch of releases takes 31,000 gas each, a block has 30 million and more.
const BATCH_MAX: usize = 100;
/// Gas of redeeming one voucher alone, rounded up; see contracts/GAS.md.
const REDEEM_GAS: u128 = 70_000;

/// The escrow contract of a chain, with the wallet that pays for transactions.
#[derive(Debug)]
pub struct ChainLedger {
    rpc: Arc<Rpc>,
    sender: Sender,
    settings: ChainSettings,
    escrow: Address,
    movement: Mutex<()>,
}

impl ChainLedger {
    /// The ledger for `wallet`, whose transactions are kept in the file `outbox`. `stop` ends waiting.
    ///
    /// # Errors
    /// When no endpoint of the chain answers, the file is in use, or the chain has no escrow contract for its token.
    pub fn open(
        settings: ChainSettings,
        wallet: Wallet,
        outbox: PathBuf,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ChainError> {
        let ledger = Self::open_without_contract(settings, wallet, outbox, stop)?;
        ledger.check_contract()?;
        Ok(ledger)
    }

    /// The same where the contract may still have to be put on the chain.
    ///
    /// # Errors
    /// When there is no endpoint, or the file is in use.
    pub fn open_without_contract(
        settings: ChainSettings,
        wallet: Wallet,
        outbox: PathBuf,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, ChainError> {
        let rpc = Arc::new(settings.rpc()?);
        let sender = Sender::new(
            Arc::clone(&rpc),
            wallet,
            Outbox::open(outbox)?,
            (settings.coin.clone(), settings.fee_cap_gwei),
            (settings.confirmations, settings.patience),
            stop,
        )?;
        let escrow = settings.escrow();
        Ok(Self {
            rpc,
            sender,
            settings,
            escrow,
            movement: Mutex::new(()),
        })
    }

    /// Begins what reads the chain, decides and sends: one at a time, and after all that was sent before.
    fn begin(&self) -> Result<MutexGuard<'_, ()>, ChainError> {
        let movement = self.movement.lock().unwrap_or_else(PoisonError::into_inner);
        self.sender.finish_pending()?;
        Ok(movement)
    }

    /// Begins what adds to something, so that asking twice does it twice. Whoever asked may have looked before something of
    /// an earlier time came through, perhaps the very same: he has to look again.
    fn begin_adding(&self) -> Result<MutexGuard<'_, ()>, ChainError> {
        let movement = self.movement.lock().unwrap_or_else(PoisonError::into_inner);
        match self.sender.finish_pending()? {
            true => Err(ChainError::Outdated),
            false => Ok(movement),
        }
    }

    /// Is the escrow there, and for this token? An address that follows from the code cannot hold another code, so a chain that
    /// has none is not the one that is meant, or nobody has needed it yet.
    fn check_contract(&self) -> Result<(), ChainError> {
        if self.has_code(self.escrow)? {
            let answer = self.rpc.look(self.escrow, &contract::token())?;
            if contract::read_account(&answer) == Some(self.settings.token) {
                return Ok(());
            }
        }
        Err(ChainError::NoContract {
            address: self.escrow,
            chain_id: self.rpc.chain_id(),
        })
    }

    fn has_code(&self, address: Address) -> Result<bool, RpcError> {
        let parameters = json!([address.to_string(), "latest"]);
        Ok(!self.rpc.bytes("eth_getCode", parameters)?.is_empty())
    }

    /// Puts the escrow contract on the chain, unless it is there.
    ///
    /// # Errors
    /// When the chain has no deterministic deployment proxy, or the transaction fails.
    pub fn deploy(&self) -> Result<Address, ChainError> {
        if !self.has_code(self.escrow)? {
            if !self.has_code(DEPLOYER)? {
                return Err(ChainError::Dev(format!(
                    "chain {} has no deterministic deployment proxy at {DEPLOYER}",
                    self.rpc.chain_id()
                )));
            }
            let deployment = Deployment::escrow(self.settings.token);
            self.order(
                "put the escrow contract on the chain",
                DEPLOYER,
                deployment.input,
            )?;
        }
        self.check_contract()?;
        Ok(self.escrow)
    }

    fn order(&self, purpose: &str, to: Address, data: Vec<u8>) -> Result<(), ChainError> {
        let order = Order {
            purpose: purpose.to_owned(),
            to,
            value: 0,
            data,
        };
        self.sender.send(order).map(|_| ())
    }

    /// The account that sends.
    pub fn account(&self) -> Address {
        self.sender.account()
    }

    /// How the chain is reached.
    pub fn settings(&self) -> &ChainSettings {
        &self.settings
    }

    /// Sends GLM to an account.
    ///
    /// # Errors
    /// When it is not there, the transaction fails, or an earlier one came through only now ([`ChainError::Outdated`]).
    pub fn send_glm(&self, to: Address, sum: Glm) -> Result<(), LedgerError> {
        let _movement = self.begin_adding()?;
        self.refuse_without(self.account(), sum)?;
        let data = contract::transfer(to, sum);
        Ok(self.order(&transfer_purpose(to, sum, "GLM"), self.settings.token, data)?)
    }

    /// Sends coins to an account.
    ///
    /// # Errors
    /// When they are not there, the transaction fails, or an earlier one came through only now ([`ChainError::Outdated`]).
    pub fn send_coins(&self, to: Address, sum: Glm) -> Result<(), LedgerError> {
        let _movement = self.begin_adding()?;
        self.sender.send(Order {
            purpose: transfer_purpose(to, sum, &self.settings.coin),
            to,
            value: sum.wei(),
            data: Vec::new(),
        })?;
        Ok(())
    }

    /// Where the last such transfer stands, of coins or of GLM; one of an earlier run is seen to before anything else is sent.
    ///
    /// # Errors
    /// When the file fails.
    pub fn last_transfer(
        &self,
        to: Address,
        sum: Glm,
        coins: bool,
    ) -> Result<Option<State>, StoreError> {
        let unit = if coins { &self.settings.coin } else { "GLM" };
        let purpose = transfer_purpose(to, sum, unit);
        let transactions = self.sender.transactions()?;
        let mut such = transactions
            .iter()
            .filter(|transaction| transaction.purpose == purpose);
        Ok(such.next_back().map(|transaction| transaction.state))
    }

    /// Whom this account serves as a hot key, and how much more it may put into channels.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub fn delegation(&self, hot_key: Address) -> Result<(Option<Address>, Glm), ChainError> {
        let answer = self
            .rpc
            .look(self.escrow, &contract::delegations(hot_key))?;
        Ok(contract::read_delegation(&answer).ok_or_else(|| unread("delegations"))?)
    }

    /// Makes this account a hot key of an owner, for good.
    ///
    /// # Errors
    /// When it serves one already, or the transaction fails.
    pub fn serve_owner(&self, owner: Address) -> Result<(), ChainError> {
        let purpose = format!("serve {owner}");
        self.order(&purpose, self.escrow, contract::serve_owner(owner))
    }

    /// Lets a hot key that serves this account put so much more of its GLM into channels.
    ///
    /// # Errors
    /// When the key does not serve this account, a transaction fails, or an earlier one came through only now
    /// ([`ChainError::Outdated`]).
    pub fn raise_cap(&self, hot_key: Address, sum: Glm) -> Result<(), LedgerError> {
        let _movement = self.begin_adding()?;
        let allowed = self.allowance(self.account())?;
        let needed = allowed.checked_add(sum).ok_or(LedgerError::TooLarge)?;
        self.order(
            "let the escrow take GLM",
            self.settings.token,
            contract::approve(self.escrow, needed),
        )?;
        let purpose = format!("let {hot_key} spend {sum} GLM more");
        Ok(self.order(&purpose, self.escrow, contract::raise_cap(hot_key, sum))?)
    }

    /// Lets a hot key put nothing more into channels.
    ///
    /// # Errors
    /// When the key does not serve this account, or the transaction fails.
    pub fn revoke_cap(&self, hot_key: Address) -> Result<(), ChainError> {
        let purpose = format!("let {hot_key} spend nothing more");
        self.order(&purpose, self.escrow, contract::revoke_cap(hot_key))
    }

    /// Waits until all that was sent is final.
    ///
    /// # Errors
    /// When it does not become so in time.
    pub fn finalize(&self) -> Result<(), ChainError> {
        self.sender.finalize()
    }

    /// The last epoch between two accounts, and its escrow.
    ///
    /// # Errors
    /// When no endpoint answers.
    pub fn present(
        &self,
        requestor: Address,
        worker: Address,
    ) -> Result<Option<(u64, Escrow)>, LedgerError> {
        Ok(self.channel(requestor, worker)?.present())
    }

    /// All transactions of the account that this folder has sent.
    ///
    /// # Errors
    /// When the file fails.
    pub fn transactions(&self) -> Result<Vec<Transaction>, StoreError> {
        self.sender.transactions()
    }

    /// Who pays for what an account opens, and how much that may spend.
    fn purse(&self, requestor: Address) -> Result<(Address, Glm), ChainError> {
        let (owner, cap) = self.delegation(requestor)?;
        let payer = owner.unwrap_or(requestor);
        let balance = self.token_balance(payer)?;
        Ok(match owner {
            None => (payer, balance),
            Some(_) => (payer, balance.min(cap).min(self.allowance(payer)?)),
        })
    }

    fn token_balance(&self, account: Address) -> Result<Glm, ChainError> {
        self.token_number(&contract::balance_of(account), "balanceOf")
    }

    fn allowance(&self, holder: Address) -> Result<Glm, ChainError> {
        let asked = contract::allowance(holder, self.escrow);
        let answer = self.rpc.look(self.settings.token, &asked)?;
        // What is allowed without a limit has more than 128 bits.
        let allowed = contract::read_number(&answer).unwrap_or(u128::MAX);
        Ok(Glm::from_wei(allowed))
    }

    fn token_number(&self, asked: &[u8], what: &str) -> Result<Glm, ChainError> {
        let answer = self.rpc.look(self.settings.token, asked)?;
        let number = contract::read_number(&answer).ok_or_else(|| unread(what))?;
        Ok(Glm::from_wei(number))
    }

    fn refuse_without(&self, account: Address, needed: Glm) -> Result<(), LedgerError> {
        let balance = self.token_balance(account)?;
        match balance >= needed {
            true => Ok(()),
            false => Err(LedgerError::InsufficientBalance {
                account,
                balance,
                needed,
            }),
        }
    }

    /// Makes sure that a deposit is there and that the escrow may take it.
    fn make_available(&self, sum: Glm) -> Result<(), LedgerError> {
        if sum.wei() > AMOUNT_MAX {
            return Err(LedgerError::TooLarge);
        }
        let (payer, balance) = self.purse(self.account())?;
        if balance < sum {
            return Err(LedgerError::InsufficientBalance {
                account: payer,
                balance,
                needed: sum,
            });
        }
        if payer == self.account() && self.allowance(payer)? < sum {
            // As much as there is: each allowance is a transaction, and the contract takes only what its caller deposits.
            let data = contract::approve(self.escrow, balance);
            self.order("let the escrow take GLM", self.settings.token, data)?;
        }
        Ok(())
    }

    fn channel(&self, requestor: Address, worker: Address) -> Result<Channel, ChainError> {
        let answer = self
            .rpc
            .look(self.escrow, &contract::channels(requestor, worker))?;
        Ok(Channel::read(&answer).ok_or_else(|| unread("channels"))?)
    }

    fn open_escrow(&self, key: &EscrowKey) -> Result<Escrow, LedgerError> {
        match self.escrow(key)? {
            None => Err(LedgerError::NotOpen(*key)),
            Some(escrow) if escrow.released => Err(LedgerError::Released(*key)),
            Some(escrow) => Ok(escrow),
        }
    }

    fn now(&self) -> Result<u64, RpcError> {
        let block = self
            .rpc
            .call("eth_getBlockByNumber", json!(["latest", false]))?;
        let time = super::rpc::number(&block["timestamp"]);
        let time = time.and_then(|time| u64::try_from(time).ok());
        time.ok_or_else(|| nonsense("eth_getBlockByNumber", &block["timestamp"]))
    }
}

fn transfer_purpose(to: Address, sum: Glm, unit: &str) -> String {
    format!("send {sum} {unit} to {to}")
}

fn unread(what: &str) -> RpcError {
    nonsense(what, &Value::Null)
}

fn added(left: Glm, right: Glm) -> Result<Glm, LedgerError> {
    left.checked_add(right).ok_or(LedgerError::TooLarge)
}

impl Ledger for ChainLedger {
    fn chain_id(&self) -> u64 {
        self.rpc.chain_id()
    }

    fn contract(&self) -> Address {
        self.escrow
    }

    fn is_chain(&self) -> bool {
        true
    }

    fn balance(&self, account: Address) -> Result<Glm, LedgerError> {
        Ok(self.token_balance(account)?)
    }

    fn spendable(&self, requestor: Address) -> Result<Glm, LedgerError> {
        Ok(self.purse(requestor)?.1)
    }

    fn redeem_fee(&self) -> Result<Glm, LedgerError> {
        let price = self
            .rpc
            .number("eth_gasPrice", json!([]))
            .map_err(ChainError::from)?;
        let fee = price.saturating_mul(REDEEM_GAS);
        Ok(Glm::from_wei(
            fee.saturating_mul(self.settings.glm_per_coin.into()),
        ))
    }

    fn open_many(&self, openings: &[(EscrowKey, Glm)]) -> Result<(), LedgerError> {
        let _movement = self.begin()?;
        for (key, _) in openings {
            if self.escrow(key)?.is_some() {
                return Err(LedgerError::AlreadyOpen(*key));
            }
        }
        for openings in openings.chunks(BATCH_MAX) {
            let sum = openings
                .iter()
                .try_fold(Glm::ZERO, |sum, (_, deposit)| added(sum, *deposit))?;
            self.make_available(sum)?;
            let purpose = format!("open {} escrows with {sum} GLM", openings.len());
            self.order(&purpose, self.escrow, contract::open_many(openings))?;
        }
        Ok(())
    }

    fn top_up(&self, key: &EscrowKey, amount: Glm) -> Result<(), LedgerError> {
        let _movement = self.begin_adding()?;
        self.open_escrow(key)?;
        self.make_available(amount)?;
        let purpose = format!("add {amount} GLM to the escrow for {}", key.worker);
        Ok(self.order(&purpose, self.escrow, contract::top_up(key, amount))?)
    }

    fn escrow(&self, key: &EscrowKey) -> Result<Option<Escrow>, LedgerError> {
        Ok(self.channel(key.requestor, key.worker)?.epoch(key.epoch))
    }

    fn finish_pending(&self) -> Result<(), LedgerError> {
        Ok(self.begin().map(drop)?)
    }

    fn redeem_many(&self, signed: &[SignedVoucher]) -> Result<Vec<Redeemed>, LedgerError> {
        let _movement = self.begin()?;
        let mut before = Vec::new();
        for signed in signed {
            verify_voucher_on(signed, self.chain_id(), self.escrow)?;
            let key = EscrowKey::from(&signed.voucher);
            let escrow = self.escrow(&key)?;
            before.push((key, escrow.ok_or(LedgerError::NotOpen(key))?));
        }
        let pays = |(signed, (_, escrow)): &(&SignedVoucher, &(EscrowKey, Escrow))| {
            !escrow.released && signed.voucher.cumulative.min(escrow.deposit) > escrow.claimed
        };
        let due: Vec<SignedVoucher> = signed
            .iter()
            .zip(&before)
            .filter(pays)
            .map(|(signed, _)| *signed)
            .collect();
        for batch in due.chunks(BATCH_MAX) {
            let purpose = format!("pay {} providers", batch.len());
            self.order(&purpose, self.escrow, contract::redeem_many(batch))?;
        }
        let redeemed = signed.iter().zip(&before).map(|(signed, (key, before))| {
            let claimed = match before.released {
                true => before.claimed,
                false => self
                    .escrow(key)?
                    .map_or(before.claimed, |escrow| escrow.claimed),
            };
            Ok(Redeemed {
                paid: claimed.checked_sub(before.claimed).unwrap_or_default(),
                cumulative_claimed: claimed,
                short: signed
                    .voucher
                    .cumulative
                    .checked_sub(claimed)
                    .unwrap_or_default(),
            })
        });
        redeemed.collect()
    }

    fn release(&self, key: &EscrowKey) -> Result<Release, LedgerError> {
        let _movement = self.begin()?;
        let escrow = self.escrow(key)?.ok_or(LedgerError::NotOpen(*key))?;
        if escrow.released {
            return Ok(Release::Returned(Glm::ZERO));
        }
        let Some(until_unix_s) = escrow.withdrawable_at else {
            let purpose = format!("announce the end of the escrow for {}", key.worker);
            self.order(&purpose, self.escrow, contract::announce_withdrawal(key))?;
            let announced = self.open_escrow(key)?.withdrawable_at.unwrap_or(u64::MAX);
            return Ok(Release::Thawing {
                until_unix_s: announced,
            });
        };
        if self.now().map_err(ChainError::from)? < until_unix_s {
            return Ok(Release::Thawing { until_unix_s });
        }
        let rest = escrow
            .deposit
            .checked_sub(escrow.claimed)
            .unwrap_or_default();
        let purpose = format!("take back {rest} GLM of the escrow for {}", key.worker);
        self.order(&purpose, self.escrow, contract::withdraw(key))?;
        Ok(Release::Returned(rest))
    }

    fn close(&self, releases: &[SignedRelease]) -> Result<Vec<Glm>, LedgerError> {
        let _movement = self.begin()?;
        let mut returned = Vec::new();
        let mut open = Vec::new();
        for signed in releases {
            verify_release_on(signed, self.chain_id(), self.escrow)?;
            let key = EscrowKey::from(&signed.release);
            let escrow = self.escrow(&key)?.ok_or(LedgerError::NotOpen(key))?;
            if escrow.released {
                returned.push(Glm::ZERO);
                continue;
            }
            let due = signed.release.cumulative.max(escrow.claimed);
            let rest = escrow.deposit.checked_sub(due);
            returned.push(rest.ok_or(LedgerError::NotCovered(key))?);
            open.push(*signed);
        }
        for batch in open.chunks(BATCH_MAX) {
            let purpose = format!("pay {} providers and close their escrows", batch.len());
            self.order(&purpose, self.escrow, contract::release_many(batch))?;
        }
        Ok(returned)
    }

    fn totals(&self) -> Result<Totals, LedgerError> {
        let supply = self.token_number(&contract::total_supply(), "totalSupply")?;
        let escrowed = self.token_balance(self.escrow)?;
        Ok(Totals {
            supply,
            accounts: supply.checked_sub(escrowed).unwrap_or_default(),
            escrowed,
        })
    }
}
