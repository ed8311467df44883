//! A chain as these tests use it, so that the same steps run on anvil and on an EVM in process.

use protocol::Address;

/// What a transaction did.
#[derive(Debug, Clone, Default)]
pub struct Done {
    /// What the called function returned.
    pub output: Vec<u8>,
    /// Gas that the sender pays for.
    pub gas: u64,
    /// Topics and data of what was logged, of all contracts. Only anvil tells.
    pub logs: Vec<(Vec<[u8; 32]>, Vec<u8>)>,
}

/// What a transaction that changed nothing was refused with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reverted(pub Vec<u8>);

/// A chain that takes transactions of any sender unsigned, one a block.
pub trait Evm {
    /// Sends `input` to a contract, or makes one of it.
    fn send(&mut self, from: Address, to: Option<Address>, input: &[u8]) -> Result<Done, Reverted>;

    /// Calls a contract without changing anything.
    fn look(&mut self, to: Address, input: &[u8]) -> Result<Vec<u8>, Reverted>;

    /// Where the last contract was made.
    fn created(&self) -> Address;

    /// Unix time of the last block, in seconds. The next one comes a second later.
    fn now(&self) -> u64;

    /// Lets that many seconds pass before the next block.
    fn pass(&mut self, seconds: u64);
}
