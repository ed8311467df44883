//! The escrow contract on anvil: every rule of `contracts/README.md`, every known trap of other people's channels, random
//! sequences against a model, gas, and that what is committed is what the sources compile to.

mod anvil;
mod building;
mod calls;
mod delegation;
mod events;
mod evm;
mod gas;
mod leaving;
mod model;
mod opening;
mod player;
mod redeeming;
mod sequences;
mod signatures;
mod tokens;

use anvil::{CHAIN_ID, Chain};
use calls::{Contracts, Key, Outcome, test_token};
use protocol::Address;

/// What the requestor and the owner of a hot key have to begin with.
const FUNDS: u128 = 1_000;

/// An escrow of its own for one test, and who takes part.
struct Scene {
    contracts: Contracts,
    requestor: Key,
    worker: Key,
    stranger: Key,
}

impl Scene {
    fn new(chain: &mut Chain<'_>) -> Self {
        let contracts = Contracts::deploy(chain, CHAIN_ID, test_token());
        let scene = Self {
            contracts,
            requestor: Key::new(1),
            worker: Key::new(2),
            stranger: Key::new(3),
        };
        contracts.fund(chain, scene.requestor.address(), FUNDS);
        contracts.fund(chain, scene.stranger.address(), FUNDS);
        scene
    }

    /// With an open channel in epoch 0.
    fn opened(chain: &mut Chain<'_>, deposit: u128) -> Self {
        let scene = Self::new(chain);
        scene
            .contracts
            .open(
                chain,
                scene.requestor.address(),
                (scene.worker.address(), 0, deposit),
            )
            .unwrap();
        scene
    }

    /// Requestor, worker, epoch.
    fn key(&self, epoch: u64) -> (Address, Address, u64) {
        (self.requestor.address(), self.worker.address(), epoch)
    }

    fn voucher(&self, epoch: u64, cumulative: u128) -> protocol::message::SignedVoucher {
        let (requestor, worker, epoch) = self.key(epoch);
        self.requestor
            .sign_voucher(self.contracts.voucher(requestor, worker, epoch, cumulative))
    }

    /// What requestor, worker and escrow hold.
    fn balances(&self, chain: &mut Chain<'_>) -> [u128; 3] {
        let accounts = [
            self.requestor.address(),
            self.worker.address(),
            self.contracts.escrow,
        ];
        accounts.map(|account| self.contracts.balance(chain, account))
    }

    fn channel(&self, chain: &mut Chain<'_>) -> calls::Channel {
        let (requestor, worker, _) = self.key(0);
        self.contracts.channel(chain, requestor, worker)
    }
}

#[track_caller]
fn refused_with<T: std::fmt::Debug>(name: &str, result: Result<T, calls::Refusal>) {
    assert_eq!(result.map(|_| ()).unwrap_err().0, name);
}

#[track_caller]
fn accepted(outcome: Outcome) {
    outcome.unwrap();
}
