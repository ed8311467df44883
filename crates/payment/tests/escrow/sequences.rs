//! A few of the random sequences of [`crate::player`] on anvil. `contracts/fuzz` runs a million in process.

use crate::{
    anvil::{Anvil, CHAIN_ID},
    player::{self, Cast, Counts},
};

const SEQUENCES: u64 = 60;

#[test]
fn whatever_is_called_money_is_conserved_and_only_the_worker_is_paid() {
    let anvil = Anvil::shared();
    let mut cast = Cast::new();
    let mut counts = Counts::default();
    let chain = &mut anvil.chain();
    for seed in 0..SEQUENCES {
        let stage = cast.deploy(chain, CHAIN_ID);
        let of_one = player::run(chain, &stage, &mut cast, seed)
            .unwrap_or_else(|problem| panic!("{problem}"));
        counts.add(&of_one);
    }
    assert!(counts.calls() > 10 * SEQUENCES);
    assert!(counts.one_sided().is_empty(), "{}", counts.table());
}
